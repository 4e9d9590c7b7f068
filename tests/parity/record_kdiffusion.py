"""Record the trajectories of k-diffusion's samplers for test_kdiffusion.py: writes fixtures/kdiffusion.npz.

k-diffusion wants torchvision, kornia and more at import, so it is no dependency of the tests. To record again, in an
environment of its own that has torch and scipy:

    pip install --no-deps k-diffusion==0.1.1 torchsde==0.2.6 torchdiffeq==0.2.5 trampoline==0.1.2 boltons
    pip install numpy scipy tqdm
    python tests/parity/record_kdiffusion.py

Recorded: the sigmas, the start, the draws in their order, and for every sampler the sample after each of its steps. The
model is D = tanh(1.3 y / sqrt(1 + sigma^2)), in float64.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import types
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

PACKAGES = {"k-diffusion": "0.1.1", "torchsde": "0.2.6", "torchdiffeq": "0.2.5"}
STEPS = 10


def sampling() -> Any:
    """k_diffusion.sampling, its package's own import and the image libraries replaced by empty modules."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("k-diffusion is not installed: see the top of this file")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["k_diffusion"] = package
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        module = types.ModuleType(name)
        module.__path__ = []
        sys.modules[name] = module
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]
    sys.modules["torchvision.transforms"].functional = sys.modules[name]  # type: ignore[attr-defined]
    return importlib.import_module("k_diffusion.sampling")


def model(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return torch.tanh(1.3 * x / (1 + sigma.view(-1, 1, 1, 1) ** 2).sqrt())


def main() -> None:
    for package, version in PACKAGES.items():
        if importlib.metadata.version(package) != version:
            raise SystemExit(f"{package} is {importlib.metadata.version(package)}, this records {version}")
    k = sampling()
    draw = torch.Generator().manual_seed(0)
    sigmas = k.get_sigmas_karras(STEPS, 0.03, 14.6).double()
    start = torch.randn(1, 2, 3, 3, generator=draw, dtype=torch.float64) * sigmas[0]
    draws = torch.randn(2 * STEPS, 1, 2, 3, 3, generator=draw, dtype=torch.float64)
    record = {"sigmas": sigmas, "start": start, "draws": draws}

    def run(name: str, sampler: Any, **options: Any) -> None:
        befores: list[torch.Tensor] = []
        end = sampler(model, start, sigmas, callback=lambda info: befores.append(info["x"]), disable=True, **options)
        record[name] = torch.stack([*befores[1:], end])

    def stream() -> Any:
        left = iter(draws)
        return lambda sigma, sigma_next: next(left)

    run("euler", k.sample_euler)
    run("heun", k.sample_heun)
    run("dpm2", k.sample_dpm_2)
    run("lms", k.sample_lms)
    run("dpmpp-2m", k.sample_dpmpp_2m)
    run("euler-a", k.sample_euler_ancestral, noise_sampler=stream())
    run("euler-a eta 0.5", k.sample_euler_ancestral, noise_sampler=stream(), eta=0.5)
    run("dpmpp-2s-a", k.sample_dpmpp_2s_ancestral, noise_sampler=stream())
    run("dpmpp-2s", k.sample_dpmpp_2s_ancestral, eta=0.0, noise_sampler=stream())
    run("dpmpp-sde", k.sample_dpmpp_sde, noise_sampler=stream())
    run("dpmpp-2m-sde", k.sample_dpmpp_2m_sde, noise_sampler=stream())
    run("dpmpp-2m-sde eta 0.5", k.sample_dpmpp_2m_sde, noise_sampler=stream(), eta=0.5)
    run("dpmpp-2m-sde heun", k.sample_dpmpp_2m_sde, noise_sampler=stream(), solver_type="heun")
    run("dpmpp-3m-sde", k.sample_dpmpp_3m_sde, noise_sampler=stream())

    # DPM-Solver's own steps of order 2 and 3, which stop before clean; its time is -log sigma.
    for order in (2, 3):
        solver, x, after = k.DPMSolver(model), start, []
        step = getattr(solver, f"dpm_solver_{order}_step")
        for s, t in pairwise(sigmas[:-1]):
            x = step(x, solver.t(s), solver.t(t))[0]
            after.append(x)
        record[f"dpm-solver-{order}"] = torch.stack(after)

    path = Path(__file__).parent / "fixtures" / "kdiffusion.npz"
    np.savez_compressed(path, **{name: value.numpy() for name, value in record.items()})
    print(f"{path}: {len(record) - 3} samplers, {path.stat().st_size} bytes, {PACKAGES}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
