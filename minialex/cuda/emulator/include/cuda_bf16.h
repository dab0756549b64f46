// cuda_bf16.h -- stands in for CUDA's header of that name.
#pragma once
#include "emu/halves.h"
