"""The types of tensors in GGUF files, by the numbers that ggml gives them.

Source: ggml.h (enum ggml_type) of ggml-org/ggml.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One type of tensor: a block of ``size`` bytes holds ``numbers`` numbers, read as ``dtype``."""

    name: str
    numbers: int
    size: int
    dtype: str = "F32"


#: The types that are read, by the format's number.
KINDS = {
    **{0: Kind("F32", 1, 4), 1: Kind("F16", 1, 2, "F16"), 28: Kind("F64", 1, 8, "F64"), 30: Kind("BF16", 1, 2, "BF16")},
    **{
        24: Kind("I8", 1, 1, "I8"),
        25: Kind("I16", 1, 2, "I16"),
        26: Kind("I32", 1, 4, "I32"),
        27: Kind("I64", 1, 8, "I64"),
    },
    **{
        2: Kind("Q4_0", 32, 18),
        3: Kind("Q4_1", 32, 20),
        6: Kind("Q5_0", 32, 22),
        7: Kind("Q5_1", 32, 24),
        8: Kind("Q8_0", 32, 34),
    },
    **{10: Kind("Q2_K", 256, 84), 11: Kind("Q3_K", 256, 110), 12: Kind("Q4_K", 256, 144), 13: Kind("Q5_K", 256, 176)},
    **{14: Kind("Q6_K", 256, 210), 20: Kind("IQ4_NL", 32, 18), 23: Kind("IQ4_XS", 256, 136)},
}
#: Types that are not, by name, for the refusal.
OTHERS = {
    **{
        9: "Q8_1",
        15: "Q8_K",
        16: "IQ2_XXS",
        17: "IQ2_XS",
        18: "IQ3_XXS",
        19: "IQ1_S",
        21: "IQ3_S",
        22: "IQ2_S",
        29: "IQ1_M",
    },
    **{34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0"},
}
