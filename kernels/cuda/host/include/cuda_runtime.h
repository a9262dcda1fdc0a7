// For files that include it out of habit. The language of kernels is there without it, and the host's
// functions, cudaMalloc or <<<...>>>, are not: Python allocates and launches.
#pragma once

#include "cuda_on_cpu.h"
