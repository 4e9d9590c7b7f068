"""Laws of choosing among pictures: by what is asked for, the same from the command line and from Python."""

import json

import pytest
import torch
from PIL import Image

import danqing
from danqing.errors import InvalidInput
from danqing.measure.best import Fit, asked
from danqing.pictures.picture import Picture
from danqing.request.request import Request


@pytest.fixture(scope="module")
def fit():
    return Fit()


def painted(colour, prompt, index=0):
    image = Image.new("RGB", (64, 64), "white")
    image.paste(colour, (8, 8, 56, 56))
    return Picture(frames=(image,), request=Request(prompt=prompt, index=index, style="none"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "a (red:1.3) fox, <lora:x:1>"}, "a red fox,"),
        ({"prompt": "[a cat:a dog:0.5]"}, "a dog"),
        ({"prompt": "a fox AND snow AND a frame:-1"}, "a fox, snow"),
        ({"prompt": "🦊", "style": "none"}, "fox"),
        ({"prompt": "a fox", "style": "3d"}, "a fox, 3d style"),
    ],
)
def test_what_is_asked_for_is_the_words_at_the_end_without_grammar(options, words):
    assert asked(Request(**options)).strip() == words


def test_the_order_of_pictures_and_their_number_do_not_matter_to_how_well_one_fits(fit):
    some = [painted(colour, "a red square") for colour in ("red", "blue", "green")]
    apart = [fit.of([picture])[0] for picture in some]
    assert torch.allclose(torch.tensor(fit.of(some[::-1])[::-1]), torch.tensor(apart), atol=1e-5)


def test_among_plain_squares_the_colour_asked_for_fits_best(fit):
    for colour in ("red", "blue"):
        some = [painted(other, f"a {colour} square, flat style") for other in ("red", "blue")]
        assert danqing.best(some).image.tobytes() == some[("red", "blue").index(colour)].image.tobytes()


def test_the_best_of_none_is_refused():
    with pytest.raises(InvalidInput, match="paint_all"):
        danqing.best([])


def test_the_best_of_several_is_one_of_them_and_paints_again_by_its_index(run, tiny, tmp_path):
    options = ("paint", "fox", "--model", str(tiny), "--seed", "3", "--steps", "2")
    code, out, _ = run(*options, "--best", "3", "--json", "-o", "best/")
    (said,) = map(json.loads, out.splitlines())
    assert code == 0 and said["request"]["index"] in range(3)
    code, out, _ = run(*options, "--best", "3", "--keep-all", "--json", "-o", "all/")
    every = [json.loads(line) for line in out.splitlines()]
    assert sorted(each["request"]["index"] for each in every) == [0, 1, 2]
    assert every[0]["request"] == said["request"]
    assert run("replay", said["file"])[0] == 0


def test_each_of_a_count_is_the_best_of_its_own(run, tiny):
    code, out, err = run(
        "paint", "fox", "--model", str(tiny), "--seed", "3", "--steps", "1", "--best", "2", "--count", "2", "-o", "n/"
    )
    assert code == 0 and len(out.split()) == 2 and err.count("fits the prompt") == 2
