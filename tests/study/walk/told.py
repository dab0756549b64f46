"""Lessons that several tests look at, each given once."""

import functools

from minialex.study.walk import lesson
from minialex.study.walk.narration import states
from minialex.study.walk.text import told

given = functools.cache(lesson)


def sentences(network, mistake=None):
    return [state.sentence for state in states(given(network, mistake))]


def text(network, mistake=None):
    return "\n".join(told(given(network, mistake)))
