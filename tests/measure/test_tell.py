"""Laws of telling: certainties are probabilities, captions are written beside pictures once, and what the words are
does not depend on how large a picture is."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image, ImageDraw

from danqing.errors import InvalidFile
from danqing.measure import clip as clips
from danqing.measure import tell
from danqing.nets.clip import CLIP, CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from danqing.weights.load import save

TEXT = {"vocab_size": 49408, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "projection_dim": 24}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "projection_dim": 24}
MORE = {"num_attention_heads": 2, "hidden_act": "quick_gelu"}


@pytest.fixture(scope="module")
def teller():
    return tell.load()


def drawing(side=128, mode="RGB"):
    """A yellow face on white."""
    image = Image.new("RGB", (512, 512), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 40, 472, 472), fill=(255, 204, 50))
    for x in (160, 310):
        draw.ellipse((x, 160, x + 44, 230), fill=(90, 50, 10))
    draw.arc((150, 200, 362, 390), 20, 160, fill=(90, 50, 10), width=20)
    return image.resize((side, side), Image.Resampling.LANCZOS).convert(mode)


def test_certainties_are_probabilities_and_the_likeliest_come_first(teller):
    told = teller.tell(drawing())
    assert {"subject", "style", "colours"} <= told.guesses.keys()
    for guesses in told.guesses.values():
        parts = [guess.certainty for guess in guesses]
        assert parts == sorted(parts, reverse=True) and 0 < sum(parts) <= 1 + 1e-6
    subject, style = (told.guesses[kind][0] for kind in ("subject", "style"))
    assert subject.en in told.captions["en"] and told.captions["en"].endswith(f", {style.en}")
    assert told.captions["zh"] == f"{subject.zh}，{style.zh}"


def test_a_yellow_face_is_told_as_one(teller):
    told = teller.tell(drawing())
    assert "face" in told.guesses["subject"][0].en and told.guesses["colours"][0][:2] == ("yellow", "黄色")


def test_the_words_are_those_of_a_larger_a_transparent_and_a_paletted_copy(teller):
    told = teller.tell(drawing())
    clear = drawing(mode="RGBA")
    clear.putalpha(Image.fromarray(np.where(np.asarray(drawing()).min(2) > 250, 0, 255).astype(np.uint8)))
    for copy in (drawing(400), clear, drawing(mode="P")):
        again = teller.tell(copy)
        assert again.guesses["subject"][0].en == told.guesses["subject"][0].en


def test_a_picture_that_is_no_square_is_seen_whole(teller):
    wide = Image.new("RGB", (300, 128), "white")
    wide.paste(drawing(), (10, 0))
    assert teller.tell(wide).guesses["colours"][0].en == "yellow"
    assert teller.tell(Image.new("RGB", (3, 500), "red")).guesses["colours"][0] == ("red", "红色", 1.0)


def test_captions_lie_beside_pictures_and_none_is_replaced_unasked(run, tmp_path):
    folder = tmp_path / "art"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        drawing().save(folder / name)
    (folder / "a.txt").write_text("mine\n")
    assert run("tell", str(folder), "--captions") == (
        0, "", "1 captions written; 1 were there already, --force replaces them\n",
    )  # fmt: skip
    assert (folder / "a.txt").read_text() == "mine\n" and (folder / "b.txt").read_text().endswith(" style\n")
    code, out, err = run("tell", str(folder), "--captions", "--force", "--lang", "zh", "--json")
    assert code == 0 and "2" in err  # told in the language of the captions
    for line in map(json.loads, out.splitlines()):
        assert (folder / line["image"]).with_suffix(".txt").read_text("utf-8") == line["captions"]["zh"] + "\n"
        assert {"subject", "style", "colours"} <= line.keys() and line["style"][0].keys() == {"en", "zh", "certainty"}
    code, out, _ = run("tell", str(folder / "a.png"))
    assert code == 0 and out.splitlines()[1].startswith("    subject") and " %" in out


def test_what_cannot_be_told_is_refused(run, tmp_path):
    (tmp_path / "no.png").write_text("text")
    for args, said in (
        (["no.png"], "not a picture"),
        (["a.png"], "no file"),
        (["no.png", "--clip", "x"], "belong together"),
    ):
        code, _, err = run("tell", *(str(tmp_path / arg) if arg.endswith(".png") else arg for arg in args))
        assert code == 2 and said in err


@torch.no_grad()
def test_words_by_a_clip_are_those_that_transformers_ranks_so(tmp_path, run):
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config={**TEXT, **MORE, "bos_token_id": 49406, "eos_token_id": 49407},
            vision_config={**VISION, **MORE, "image_size": 64, "patch_size": 16},
            projection_dim=24,
        )
    ).eval()
    ours = CLIP(
        CLIPConfig(
            text=CLIPTextConfig(**TEXT, **MORE), vision=CLIPVisionConfig(**VISION, **MORE, image_size=64, patch_size=16)
        )
    )
    ours.load_state_dict({n: x for n, x in theirs.state_dict().items() if not n.endswith("position_ids")})
    (tmp_path / "clip").mkdir()
    save(ours, tmp_path / "clip" / "model.safetensors")
    words = ["a red fox", "oil painting", "a photograph of the sea", "街", "by night", "a house", "a dog"]
    (tmp_path / "words.txt").write_text("\n".join([*words, "", "a dog"]), encoding="utf-8")
    found = clips.load(tmp_path / "clip", str(tmp_path / "words.txt")).tell(drawing(64)).guesses["words"]

    seen = (np.asarray(drawing(64), np.float32) / 255 - clips.IMAGE_MEAN) / clips.IMAGE_STD
    pixels = torch.tensor(seen, dtype=torch.float32).movedim(-1, 0)[None]
    tokenizer = clips.clip_tokenizer()
    ids = torch.tensor([clips.framed(tokenizer, tokenizer.encode(word)) for word in words])
    right = theirs(input_ids=ids, pixel_values=pixels).logits_per_image[0].softmax(0)
    for guess in found:
        assert guess.certainty == pytest.approx(right[words.index(guess.en)].item(), rel=1e-3)
    assert [words.index(guess.en) for guess in found] == right.topk(5).indices.tolist()

    drawing().save(tmp_path / "a.png")
    code, out, _ = run(
        "tell", str(tmp_path / "a.png"), "--clip", str(tmp_path / "clip"), "--words", str(tmp_path / "words.txt")
    )
    assert code == 0 and "words" in out
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(InvalidFile, match="no words"):
        clips.load(tmp_path / "clip", str(tmp_path / "none.txt"))
