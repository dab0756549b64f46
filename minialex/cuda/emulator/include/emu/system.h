// system.h -- what kernels see of the system that they run on.
#pragma once

// One for each of the machine's threads. On Linux by the model that costs no call: there are only two
// such variables, and room for them in every process.
#if defined(__ELF__)
#define EMU_PER_THREAD __thread __attribute__((tls_model("initial-exec")))
#else
#define EMU_PER_THREAD __thread
#endif
