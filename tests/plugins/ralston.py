"""A solver: Ralston's rule of second order, in kappa."""

import math
from dataclasses import dataclass

from torch import Tensor

from danqing.noise import Draw
from danqing.solve.core import Estimate, Look, OneStep, Point, along, blend, transfer
from danqing.solve.solvers import Row


@dataclass(frozen=True)
class Ralston(OneStep):
    """y_q = y_p + (kappa_q - kappa_p) (e_p + 3 e_m) / 4, e_m looked up where Euler's step lands two thirds of the
    way (Ralston 1962): of second order."""

    def move(self, at: Estimate, q: Point, look: Look, noise: Draw) -> Tensor:
        p, x = at.point, at.x
        if math.isinf(q.lam - p.lam):  # from pure noise, or to clean
            return transfer(x, p, q, at.x0)
        m = p.between(q, math.log(p.kappa / (p.kappa + 2 / 3 * (q.kappa - p.kappa))) / (q.lam - p.lam))
        middle = look(along(x, p, m, at.eps), m)
        return along(x, p, q, blend((0.25, at.eps), (0.75, middle.eps)))


ROW = Row(title="Ralston", make=Ralston, order=2, looks=2)
