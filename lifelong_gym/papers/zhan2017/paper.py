"""Zhan, Bou Ammar and Taylor (2017), for `lifelong reproduce`."""

from lifelong_gym.papers.paper import Paper
from lifelong_gym.papers.zhan2017.page import written
from lifelong_gym.papers.zhan2017.plan import FULL, QUICK, jobs
from lifelong_gym.papers.zhan2017.summary import summarised

PAPER = Paper(
    name="zhan2017",
    full=FULL,
    quick=QUICK,
    jobs=jobs,
    summarised=summarised,
    written=written,
    pictures="lifelong_gym.papers.zhan2017.pictures:draw_all",
)
