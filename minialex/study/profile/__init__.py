"""A profiler for CUDA kernels that needs no GPU.

with profiled() as profile, using(conv2d="tiled"):
    y = ops.conv2d(x, w)
profile.launches[0].slowdowns
profile.line("tile_product.cuh", 34).wavefronts_per_request
page_of(lambda: ops.conv2d(x, w))                      # HTML: its warps, step by step
"""

from minialex.study.profile.lines import Line
from minialex.study.profile.pages import page_of
from minialex.study.profile.profiler import LaunchProfile, Profile, profiled
from minialex.study.profile.slowdowns import Slowdown

__all__ = ["LaunchProfile", "Line", "Profile", "Slowdown", "page_of", "profiled"]
