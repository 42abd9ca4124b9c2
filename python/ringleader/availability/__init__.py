"""How available replicas are, and which placement would be better.

    model = Model("eu=2,us=2,ap=1", node=0.999, dc=0.9995)
    model.availability("majority").percent      # '99.99962%'

`Model` is the question (replicas in zones and datacenters, which fail independently), its
`availability(quorum)` the exact answer; `better` ranks other placements beside it; `avoids` is the
chance that a random quorum picked blindly meets no failed replica.  docs/availability.md tells
what is assumed.
"""

from ringleader.availability.compare import Choice, assess, better, ranked
from ringleader.availability.model import Estimate, Model, avoids, avoids_exactly
from ringleader.availability.quorums import AtLeast, InEach, Quorum, meet
from ringleader.availability.value import Availability

__all__ = [
    "AtLeast",
    "Availability",
    "Choice",
    "Estimate",
    "InEach",
    "Model",
    "Quorum",
    "assess",
    "avoids",
    "avoids_exactly",
    "better",
    "meet",
    "ranked",
]
