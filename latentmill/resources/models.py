"""Models: registered VAEs."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from latentmill.resources.expiry import Duration, Moment, expiry_fields
from latentmill.resources.resource import Collection, Resource
from latentmill.resources.uploading import as_field, existing_file
from latentmill.transport import Upload


class Model(Resource):
    """A registered VAE: `digest`, `manifest`, `executions`."""

    path = "/v1/models"
    noun = "model"


class Models(Collection[Model]):
    resource = Model

    def add(
        self,
        bundle: str | PathLike[str],
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expires_at: Moment | None = None,
        expires_in: Duration | None = None,
    ) -> Model:
        """Upload a bundle; the service then inspects it."""
        path = existing_file(Path(bundle))
        fields = {"name": name, "metadata": as_field(metadata), **expiry_fields(expires_at, expires_in)}
        return self._made(self._transport.upload(Model.path, fields, {"file": Upload(path, path.name)}))
