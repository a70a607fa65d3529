"""Spaces as codecs: what a space's shape and dtype are, what of it is valid, what the family sees, what users get.

Backends hold every action and observation as a flat row of ``size`` numbers. An `ActionCodec` checks what users send
and carries the text that turns such a row into what the family sees; an `ObservationCodec` turns a row into what users
get. Another kind of space is a subclass of one of them: nothing else knows the kinds by name.
"""

from lifelong_gym.envs.spaces.actions import Continuous, Simplex, simplex_or_logits
from lifelong_gym.envs.spaces.codecs import ActionCodec, ObservationCodec, Quantity
from lifelong_gym.envs.spaces.discrete import Discrete, MultiDiscrete
from lifelong_gym.envs.spaces.observations import Bounded, Entities, EntityBox, Image

__all__ = [
    "ActionCodec",
    "Bounded",
    "Continuous",
    "Discrete",
    "Entities",
    "EntityBox",
    "Image",
    "MultiDiscrete",
    "ObservationCodec",
    "Quantity",
    "Simplex",
    "simplex_or_logits",
]
