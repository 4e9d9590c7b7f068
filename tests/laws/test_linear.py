"""Whatever reads a stranger's text takes time linear in it: four times the text takes no more than eight times as long,
where quadratic time would take sixteen."""

import contextlib
import time

import pytest

from danqing.errors import DanqingError
from danqing.inputs.parse import json_of
from danqing.lang.messages import messages
from danqing.pictures import carried, files, png
from danqing.prompt import vetted
from danqing.prompt.grammar import parse, plan
from danqing.prompt.unread import unread
from danqing.request import infotext
from danqing.request.image_prompt import image_prompts
from danqing.request.kept_face import faces
from danqing.request.reference import references
from danqing.request.region import regions
from danqing.store import library, pull

#: Short texts that make a bad pattern try again from every place, over and over.
UNITS = (
    *(
        "a",
        " ",
        "1",
        ".",
        "(",
        "[",
        "{",
        "<",
        ")",
        "]",
        ":",
        "：",
        "_",
        "__a",
        "+",
        "a+",
        "-",
        "|",
        "\\",
        '"',
        "\n",
        ",",
    ),
    *("(a:", "[a:", "[a:b:", "[a:b: ", "<a:", "<lora:a", "a: ", 'ab: "', 'ab: "\\"', "ab: a, ", "([", "a AND ", "狐"),
    *("Steps: 1, ", "\nNegative prompt:", "embedding:a", "1::a", "(a:1 ", "(a:１", "a [", "a/", "/a", "@a", "BREAK "),
    *("to=0,", ":1"),
    *("&#1", "&", "\0", ","),
)


def _tried(read, text):
    with contextlib.suppress(DanqingError):
        read(text)


#: What reads, and what the text begins with.
READERS = {
    "prompt": (lambda text: plan(parse(text), 3), ""),
    "schedule": (lambda text: plan(parse(text), 3), "[a:b:"),
    "messages": (messages("zh").said, ""),
    "messages within": (messages("zh").said, "warning: "),
    "unread": (lambda text: [*unread(text)], ""),
    "unread within": (lambda text: [*unread(text)], "[a:b:"),
    "infotext": (lambda text: infotext.request_of(infotext.read(text)), ""),
    "settings": (lambda text: infotext.request_of(infotext.read(text)), "Steps: 20, Sampler: a, Seed: "),
    "composed": (lambda text: infotext.compose(text, text, {"Seed": 1}), ""),
    "XMP": (lambda text: carried._from_xmp(text.encode()), 'danqing:record="'),
    "title": (library.TITLE.fullmatch, "a["),
    "licence": (library.LICENCE.search, "license:"),
    "id": (pull.ID.fullmatch, "x/"),
    "page": (pull.PAGE.fullmatch, "/x/"),
    "slug": (files.slug, ""),
    "image prompt": (lambda text: _tried(image_prompts, text), ""),
    "image prompt's settings": (lambda text: _tried(image_prompts, text), "a.png,weight=1,"),
    "face": (lambda text: _tried(faces, text), ""),
    "face's settings": (lambda text: _tried(faces, text), "a.png,weight=1,"),
    "reference": (lambda text: _tried(references, text), ""),
    "reference's settings": (lambda text: _tried(references, text), "a.png,weight=1,"),
    "region": (lambda text: _tried(regions, text), ""),
    "region's settings": (lambda text: _tried(regions, text), "left,negative="),
    "region's numbers": (lambda text: _tried(regions, text), "0,0,"),
    "regular expression": (vetted.linear, ""),
}


def seconds(read, text):
    """Of the processor, which others who are busy take none of."""
    begun = time.thread_time()
    read(text)
    return time.thread_time() - begun


def grows_no_faster(read, short, long):
    """Whether four times the text takes at most eight times as long, in any of some trials: noise only adds."""
    return any(seconds(read, long) <= 8 * seconds(read, short) + 0.001 for _ in range(6))


@pytest.mark.parametrize("reader", READERS)
def test_four_times_the_text_takes_about_four_times_as_long(reader):
    read, begin = READERS[reader]
    texts = {unit: [begin + unit * (length // len(unit)) + "!" for length in (1500, 6000)] for unit in UNITS}
    slow = [unit for unit, (short, long) in texts.items() if not grows_no_faster(read, short, long)]
    assert not slow


def test_chunks_of_a_png_are_read_in_linear_time():
    few, many = (png.SIGNATURE + b"\0\0\0\4tEXta\0bc\0\0\0\0" * count for count in (2000, 8000))
    assert grows_no_faster(lambda data: png.text(data, "a"), few, many)


NESTED = ("[" * 100_000, "[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70)


@pytest.mark.parametrize("text", [*NESTED, "1e999", "NaN", "1" * 400])
def test_json_that_would_trip_what_walks_it_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"deeper|digits|finite"):
        json_of(text)
