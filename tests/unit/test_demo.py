"""The demo's parts without its stack: data, bundle, picture and the words of its answer."""

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from latentmill.demo import answer, digits, picture, run
from latentmill.demo.comparing import Distances, compare, reconstructed
from latentmill.demo.run import BUNDLE, _free_folder
from latentmill.errors import Conflict
from workers.models import open_bundle
from workers.posteriors.estimate import Estimate


@pytest.fixture(scope="module")
def data():
    return digits.load()


def test_the_split_is_fixed_and_disjoint(data):
    assert data.training.shape == (1297, 8, 8)
    assert len(data.reference) == len(data.floor) == 250
    assert data.training.dtype == np.uint8
    assert data.training_labels[:12].tolist() == digits.load().training_labels[:12].tolist()
    together = np.concatenate([data.training, data.reference, data.floor]).reshape(1797, -1)
    from sklearn.datasets import load_digits

    assert sorted(map(bytes, together)) == sorted(map(bytes, np.rint(load_digits().data * 255 / 16).astype(np.uint8)))


def test_the_bundle_is_small_and_reconstructs_digits_that_it_never_saw(data):
    assert BUNDLE.stat().st_size < 300_000
    bundle = open_bundle(BUNDLE)
    assert bundle.manifest.name == "digits"
    error = np.abs(reconstructed(data.unseen, BUNDLE).astype(float) - data.unseen).mean()
    mean_digit = np.abs(data.training.mean(axis=0) - data.unseen).mean()
    assert error < 0.3 * mean_digit


def test_blurred_digits_lie_further_away_than_real_ones(data):
    blurred = ((data.training.astype(int) + np.roll(data.training, 1, axis=2)) // 2).astype(np.uint8)
    found = compare({"prior": blurred[:500], "real": data.training[:500]}, data, BUNDLE)
    assert found.rows == 250
    assert abs(found.to_reference["real"].value) < 3 * found.to_reference["real"].standard_error
    assert found.to_reference["prior"].value > 5 * found.to_reference["prior"].standard_error
    assert found.from_prior["real"].value < -3 * found.from_prior["real"].standard_error
    assert abs(found.floor.value) < 3 * found.floor.standard_error


def made(gain: Estimate) -> list[answer.Made]:
    return [answer.Made("prior", 20_000, 2.0, None), answer.Made("mixture", 20_000, 4.0, gain)]


def distances(prior: float, mixture: float) -> Distances:
    to_reference = {"prior": Estimate(prior, 0.02), "mixture": Estimate(mixture, 0.02)}
    differences = {"prior": Estimate(0.0, 0.0), "mixture": Estimate(mixture - prior, 0.02)}
    return Distances(to_reference, differences, Estimate(0.0, 0.02), 250)


def test_the_answer_says_what_the_numbers_say():
    clear = answer.sentences(made(Estimate(3.6, 0.4)), distances(0.8, 0.2))
    assert clear.startswith("Draw from the mixture")
    assert "3.60 ± 0.40 nats" in clear
    assert "closes 75% of the gap" in clear
    agree = answer.sentences(made(Estimate(0.1, 0.1)), distances(0.02, 0.01))
    assert agree.startswith("Draw from N(0, I)")
    assert "cannot be told" in agree


def test_the_table_has_a_line_for_each_strategy():
    console = Console(width=120)
    with console.capture() as shown:
        console.print(answer.table(made(Estimate(3.6, 0.4)), distances(0.8, 0.2)))
    lines = {line.split()[0]: line.split()[1:] for line in shown.get().splitlines() if line.strip()}
    assert lines["prior"] == ["20,000", "2.0", "10,000", "0", "by", "definition", "0.800", "±", "0.020"]
    assert lines["mixture"] == ["20,000", "4.0", "5,000", "3.60", "±", "0.40", "0.200", "±", "0.020"]
    assert lines["floor"] == ["0.000", "±", "0.020"]


def test_the_picture_shows_digits_dark_on_white(data, tmp_path):
    path = tmp_path / "picture.png"
    picture.draw({"real": ("unseen", data.unseen), "prior": ("0.8", data.training)}, path)
    with Image.open(path) as image:
        assert image.width > 2 * 300
        pixels = np.asarray(image.convert("L"))
    assert pixels[0, 0] == 255
    first = 255 - data.unseen[0]
    left, top = picture.MARGIN + picture.SCALE, picture.HEAD + picture.SCALE
    shown = pixels[top : top + 8 * picture.SCALE : picture.SCALE, left : left + 8 * picture.SCALE : picture.SCALE]
    assert np.array_equal(shown, first)


def test_only_an_earlier_dataset_is_replaced(tmp_path):
    own = tmp_path / "prior"
    own.mkdir()
    (own / "manifest.json").write_text("{}")
    assert not _free_folder(own).exists()
    own.mkdir()
    (own / "thesis.tex").write_text("")
    with pytest.raises(Conflict, match="--out"):
        _free_folder(own)
    assert callable(run)
