"""Defines the ten synthetic scenes as sound parameters, and draws locations of a scene.

A location's parameters vary around those of its scene, so that scenes overlap in groups: vehicles
and traffic, halls, places with many pedestrians. ``soundscape.py`` turns parameters into sound.
The scenes imitate real ones only roughly.
"""

import math
from typing import NamedTuple

import numpy as np


class Scene(NamedTuple):
    """Parameters of a scene or a location; levels in dB are relative to its noise."""

    tilt: float  # dB per octave, of the noise
    bump_hz: float  # centre of a hill in the spectrum of the noise
    bump_db: float
    hum_hz: float  # fundamental of an engine or a ventilation
    hum_db: float  # -inf: no hum
    babble_db: float
    steps: float  # events per second, as are the next four
    birds: float
    chimes: float
    squeals: float
    swells: float
    am_depth: float  # amplitude modulation of the noise
    am_hz: float


NO = -math.inf  # level of a hum that is absent
# fmt: off
SCENES: dict[str, Scene] = {
    #                         tilt bump Hz dB hum Hz dB babble steps birds chime squeal swell AM Hz
    "airport":           Scene(-3.5,  450, 4, 50,  NO,  -2,  0.6, 0.0, 0.35,  0.0,  0.0,  0.1, 1.0),
    "bus":               Scene(-5.0,  120, 6, 28,   4, -15, 0.05, 0.0, 0.06, 0.05, 0.15, 0.35, 2.0),
    "metro":             Scene(-4.6,  260, 6, 55,   0, -15, 0.05, 0.0,  0.1,  0.5, 0.05, 0.25, 4.0),
    "metro_station":     Scene(-3.9,  330, 5, 50,  -8,  -3,  0.8, 0.0, 0.25,  0.2,  0.2,  0.2, 0.7),
    "park":              Scene(-2.4, 1500, 2, 50,  NO, -12,  0.6, 1.6,  0.0,  0.0,  0.1,  0.2, 0.5),
    "public_square":     Scene(-3.0,  700, 3, 50,  NO,  -5,  1.0, 0.5, 0.03,  0.0,  0.3, 0.15, 0.8),
    "shopping_mall":     Scene(-3.2,  650, 4, 50,  NO,   3,  0.8, 0.0,  0.1,  0.0,  0.0, 0.15, 1.5),
    "street_pedestrian": Scene(-2.9,  850, 3, 50,  NO,  -1,  2.0, 0.2,  0.0,  0.0,  0.1, 0.15, 1.2),
    "street_traffic":    Scene(-3.9,  170, 4, 33, -10, -13,  0.2, 0.1,  0.0,  0.0,  0.9,  0.3, 0.4),
    "tram":              Scene(-4.8,  180, 6, 40,   0, -13,  0.1, 0.0,  0.2,  0.3, 0.15,  0.3, 2.5),
}
# fmt: on


def draw_location(rng: np.random.Generator, scene: Scene) -> Scene:
    """Draw the parameters of one location of ``scene``.

    The spread decides how hard the data set is: with three times as much, 26 locations of each
    scene are too few for a small model to tell the scenes of a group apart.
    """

    def shift(value: float, sd: float) -> float:
        return value + sd * rng.standard_normal()

    def scale(value: float, sd: float) -> float:
        return value * math.exp(sd * rng.standard_normal())

    return Scene(
        tilt=shift(scene.tilt, 0.15),
        bump_hz=scale(scene.bump_hz, 0.12),
        bump_db=shift(scene.bump_db, 0.7),
        hum_hz=scale(scene.hum_hz, 0.06),
        hum_db=shift(scene.hum_db, 1.4),
        babble_db=shift(scene.babble_db, 1.4),
        steps=scale(scene.steps, 0.18),
        birds=scale(scene.birds, 0.2),
        chimes=scale(scene.chimes, 0.18),
        squeals=scale(scene.squeals, 0.18),
        swells=scale(scene.swells, 0.18),
        am_depth=scale(scene.am_depth, 0.1),
        am_hz=scale(scene.am_hz, 0.1),
    )
