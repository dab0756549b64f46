#ifndef HELPER_H
#define HELPER_H

#include <math.h>
#include <stdio.h>
#include <sys/time.h>

inline float get_sec() {
    struct timeval time;
    gettimeofday(&time, NULL);
    return (time.tv_sec * 1e6 + time.tv_usec);
}

inline bool verify_matrix(const float *expected, const float *got, int n) {
    for (int i = 0; i < n; i++) {
        if (fabs((double)expected[i] - (double)got[i]) > 1e-2) {
            printf("error at %d: %5.2f and %5.2f\n", i, expected[i], got[i]);
            return false;
        }
    }
    return true;
}

#endif
