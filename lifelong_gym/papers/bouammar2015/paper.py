"""Bou Ammar, Tutunov and Eaton (2015), for `lifelong reproduce`."""

from lifelong_gym.papers.bouammar2015.page import written
from lifelong_gym.papers.bouammar2015.plan import FULL, QUICK, jobs
from lifelong_gym.papers.bouammar2015.summary import summarised
from lifelong_gym.papers.paper import Paper

PAPER = Paper(
    name="bouammar2015",
    full=FULL,
    quick=QUICK,
    jobs=jobs,
    summarised=summarised,
    written=written,
    pictures="lifelong_gym.papers.bouammar2015.pictures:draw_all",
)
