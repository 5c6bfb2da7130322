"""`latentmill jobs`, `download` and `verify`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from latentmill.client import Client
from latentmill.commands.console import (
    INTERRUPTED,
    AsJson,
    Limit,
    bytes_bar,
    print_list,
    print_resource,
    print_warnings,
    rows_bar,
    say,
)
from latentmill.errors import NotReady, Unreachable
from latentmill.resources import Job
from latentmill.resources.dataset_folder import Verified, verify_dataset

app = typer.Typer(help="Jobs: list, show, watch, cancel, retry, delete.", no_args_is_help=True)

JobReference = Annotated[str, typer.Argument(metavar="JOB", help="Id or name.")]


@app.command("list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with Client() as client:
        jobs = client.jobs.list(limit, state=state, model=model)
        print_list(jobs, {"rows done": "progress.rows_done", "of": "progress.rows_total"}, as_json)


@app.command()
def show(job: JobReference, as_json: AsJson = False) -> None:
    """Show one job."""
    with Client() as client:
        found = client.jobs.get(job)
        print_resource(found, as_json, readable={**found.data, "progress": _progress(found)})


@app.command()
def watch(job: JobReference) -> None:
    """Show a job's progress until it ends."""
    with Client() as client:
        found = client.jobs.get(job)
        with resumable(found, Path(found.id)):
            wait_shown(found)
    say(f"{found.id} {found.state}; fetch it: latentmill download {found.id} DIR")


@app.command()
def cancel(job: JobReference) -> None:
    """Stop a job; shards that are done stay."""
    with Client() as client:
        cancelled = client.jobs.get(job).cancel()
    say(f"{cancelled.id} is {cancelled.state}")


@app.command()
def retry(job: JobReference) -> None:
    """Make the missing shards of a failed or cancelled job."""
    with Client() as client:
        retried = client.jobs.get(job).retry()
    say(f"{retried.id} is {retried.state}; latentmill jobs watch {retried.id}")


@app.command()
def delete(job: JobReference) -> None:
    """Delete a job and its files; a running one is cancelled first."""
    with Client() as client:
        client.jobs.delete(job)
    say(f"deleted {job}")


def download(
    job: JobReference,
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where the dataset goes.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="The finished shards of a job that did not succeed; no manifest.")
    ] = False,
) -> None:
    """Fetch a job's dataset folder when it is finished; run again, it goes on where it stopped."""
    with Client() as client:
        found = client.jobs.get(job)
        if found.state in Job.broken and not partial:
            raise NotReady(
                f"{found.id} is {found.state}: `latentmill jobs retry {found.id}` makes the missing shards, "
                "--partial fetches those that are finished"
            )
        with resumable(found, folder):
            if not partial:
                wait_shown(found)
            download_shown(found, folder, partial=partial)
    say(f"{folder}: downloaded" + ("" if partial else " and verified"))


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="A dataset folder.")],
) -> None:
    """Read every file of a dataset folder and compare it with its checksum; needs no service."""
    verified = verify_shown(folder)
    say(f"{folder}: {verified.rows:,} rows in {verified.files:,} files, {verified.size_bytes:,} bytes, all verified")


def wait_shown(job: Job) -> Job:
    """Wait for `job` behind a bar of its rows; its error is raised."""
    with rows_bar(job.state, int(job.progress.get("rows_total") or 0)) as bar:

        def show_progress(current: Job) -> None:
            waiting = f" ({reason})" if (reason := current.data.get("state_reason")) and isinstance(reason, str) else ""
            rows = current.progress
            bar.update(
                bar.tasks[0].id,
                description=current.state + waiting,
                completed=rows.get("rows_done", 0),
                total=int(rows.get("rows_total") or 0),
                speed=_speed(rows),
            )

        job.wait(progress=show_progress)
    print_warnings(job)
    return job


def download_shown(job: Job, folder: Path, *, partial: bool = False) -> Path:
    """Download behind a bar of bytes."""
    with bytes_bar("downloading") as bar:
        return job.download(
            folder,
            partial=partial,
            progress=lambda done, total: bar.update(bar.tasks[0].id, completed=done, total=total),
        )


def verify_shown(folder: Path) -> Verified:
    """Verify behind a bar of bytes."""
    with bytes_bar("verifying") as bar:
        return verify_dataset(
            folder, progress=lambda done, total: bar.update(bar.tasks[0].id, completed=done, total=total)
        )


@contextmanager
def resumable(job: Job, folder: Path) -> Iterator[None]:
    """Say how to go on after an interrupt or an outage: the job itself does not stop with its watcher."""
    try:
        yield
    except KeyboardInterrupt:
        _say_how_to_resume(job, folder)
        raise typer.Exit(INTERRUPTED) from None
    except Unreachable:
        _say_how_to_resume(job, folder)
        raise


def _progress(job: Job) -> str:
    done = {"rows_done": 0, "rows_total": 0, "shards_done": 0, "shards_total": 0, "bytes": 0} | job.progress
    rows = f"{done['rows_done']:,} of {done['rows_total']:,} rows"
    shards = f"{done['shards_done']:,} of {done['shards_total']:,} shards, {done['bytes']:,} bytes"
    return ", ".join(filter(None, (rows, shards, _speed(done))))


def _speed(progress: Mapping[str, Any]) -> str:
    speed = [f"{progress['rows_per_s']:,.0f} rows/s"] if progress.get("rows_per_s") else []
    return ", ".join([*speed, f"about {progress['eta_s']:,.0f} s left"] if progress.get("eta_s") else speed)


def _say_how_to_resume(job: Job, folder: Path) -> None:
    if not job.ended:
        say(f"job {job.id} goes on without this terminal")
        say(f"  watch it:  latentmill jobs watch {job.id}")
        say(f"  stop it:   latentmill jobs cancel {job.id}")
    say(f"  fetch it:  latentmill download {job.id} {folder}   (waits for the job, goes on where it stopped)")
