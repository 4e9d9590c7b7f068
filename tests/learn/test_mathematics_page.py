"""The page of the mathematics says what runs."""

import math
import re
from pathlib import Path

import torch

PAGE = (Path(__file__).parents[2] / "docs" / "mathematics.md").read_text("utf-8")


def test_the_examples_of_the_page_run_as_they_stand_and_give_what_it_says():
    blocks, names = re.findall(r"```python\n(.*?)```", PAGE, re.S), {}
    torch.manual_seed(0)
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 7
    assert 0 < names["jensen_shannon"](names["p"], names["q"], 1000, names["noise"]).mean < math.log(2)
    evidence = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.3, 0.7])),
        torch.distributions.Normal(torch.tensor([-1.0, 1.0]), torch.tensor([1.25, 1.64]).sqrt()),
    ).log_prob(torch.tensor(0.4))  # of z plus a draw of p
    bounds = names["elbo"](names["log_w"]), names["importance_bound"](names["log_w"], 60)
    assert bounds[0] < bounds[1] and abs(bounds[1] - evidence) < 0.5
    assert names["bits_per_dim"](names["found"].log_p, 48).shape == (2,)
    assert names["picture"].shape == (1, 3, 32, 32)
