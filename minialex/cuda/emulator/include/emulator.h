// emulator.h -- CUDA C++ for a C++ compiler: what stands in front of every kernel's text.
#pragma once
#include "emu/types.h"
#include "emu/runtime.h"
#include "emu/block.h"
#include "emu/warp.h"
#include "emu/cooperative_groups.h"
#include "emu/copies.h"
#include "emu/atomics.h"
#include "emu/maths.h"
#include "emu/rounding.h"
#include "emu/integers.h"
#include "emu/halves.h"
#include "emu/special.h"
#include "emu/tensor_core.h"
#include "emu/ptx.h"
#include "emu/wmma.h"
#include "emu/entry.h"
#include "emu/variables.h"
#include "emu/standard.h"

// A kernel's `std` is the one of standard.h.
#define std emu_std
