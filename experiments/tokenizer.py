"""Train the bilingual (English, Chinese) tokenizer of danqing-mini from a file with one caption a line.

    python -m experiments.tokenizer captions.txt -o tokenizer.json

A byte-level BPE, so no text is ever unknown, over words that the rules below cut. A few thousand captioned subjects
must teach every token, so the rules make one word one token wherever it stands:

- text is NFKC and lower case; full-width punctuation thereby becomes English punctuation, shared by both languages;
- a Latin word or number carries one space before it, at the start of a text and beside Chinese too, so that "fox" has
  one spelling;
- Chinese characters never carry a space and are cut one by one: 消防车 and 救护车 share 车, and a subject is spelled
  alike in every sentence, which merges learned from running text would not keep to. Only the words of grammar and
  layout that any caption may hold (一只, 左上角, 背景: `CLOSED`) may become one token, which keeps captions short.

Ids: <pad> 0, bytes and merges from 1, <bos> vocabulary - 2, <eos> vocabulary - 1. The three are never read out of a
text: "<eos>" in a prompt is five characters. The result depends on the captions alone, not on their order.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

MEASURES = "个只条辆张面艘架枚棵朵片匹本把颗双支盏座顶封台列根件碗串块杯份名位幅"
PLACES = (
    *("左上角", "右上角", "左下角", "右下角", "左上方", "右上方", "左下方", "右下方"),
    *("左边", "右边", "上边", "下边", "左侧", "右侧", "左面", "右面", "上面", "下面", "上方", "下方"),
    *("中间", "中央", "旁边", "前面", "后面"),
)
MANNERS = (
    *("背景", "渐变", "风格", "图片", "图标", "图像", "照片", "肖像", "头像"),
    *("人物", "表情", "符号", "颜色"),
)
CLOSED = [f"[一两二三四五六七八九十几][{MEASURES}]", *PLACES, *MANNERS]

OPENING = ',;:、。/&+-("'  # a space follows these before a word: the word after a hyphen is the word elsewhere
CLOSING = ",;:.!?、。)]"  # no space before these
SPACED = r"[[\p{L}\p{M}\p{N}]&&[^\p{Han}]]"
CUTS = [*CLOSED, r"\p{Han}", f" ?{SPACED}+", r" ?[^\s\p{L}\p{M}\p{N}]"]


def rules() -> Tokenizer:
    """The tokenizer before its merges are learned: normaliser, cuts and bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.NFKC(),
            # spaces around every Chinese character first, then none before one: what is left stands between 狐 and fox
            normalizers.BertNormalizer(
                clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
            ),
            *(normalizers.Replace(Regex(rf"{re.escape(mark)}(?={SPACED})"), f"{mark} ") for mark in OPENING),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(rf" (?=[\p{{Han}}{re.escape(CLOSING)}])"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue]
        [
            pre_tokenizers.Split(Regex("|".join(CUTS)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer


def train(captions: Iterable[str], vocabulary: int = 8192, least: int = 2) -> Tokenizer:
    """Learn the merges.

    Args:
        captions: the corpus, a text each.
        vocabulary: number of ids, special ones included; at least 259.
        least: merges seen fewer times than this are not made.
    """
    tokenizer = rules()
    tokenizer.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=vocabulary - 3,
            min_frequency=least,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # the special ids join the learned ones by hand: the library's own special tokens would be matched inside prompts
    record = json.loads(tokenizer.to_str())
    learned = {token: index + 1 for token, index in record["model"]["vocab"].items()}
    record["model"]["vocab"] = {"<pad>": 0, **learned, "<bos>": vocabulary - 2, "<eos>": vocabulary - 1}
    return Tokenizer.from_str(json.dumps(record, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="a text file (UTF-8), one caption a line")
    parser.add_argument("-o", "--out", type=Path, default=Path("data/tokenizer.json"))
    parser.add_argument("--vocabulary", type=int, default=8192, help="number of ids, special ones included (8192)")
    parser.add_argument("--least", type=int, default=2, help="leave out merges seen fewer times than this (2)")
    parser.add_argument("--window", type=int, default=32, help="report captions longer than this (32)")
    args = parser.parse_args()
    lines = [line for line in args.corpus.read_text(encoding="utf-8").splitlines() if line.strip()]
    tokenizer = train(lines, args.vocabulary, args.least)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    compact = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
    args.out.write_text(compact + "\n", encoding="utf-8")
    lengths = sorted(len(encoding.ids) + 2 for encoding in tokenizer.encode_batch(lines))
    half, most = lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.99)]
    over = sum(length > args.window for length in lengths)
    tokens = tokenizer.get_vocab_size()
    print(f"{args.out}: {tokens} tokens in {args.vocabulary} ids from {len(lines)} captions")
    print(f"length median {half}, 99 % {most}, longest {lengths[-1]}; {over} captions over {args.window}")


if __name__ == "__main__":
    main()
