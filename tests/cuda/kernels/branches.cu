// branches.cu -- what branches do alike, at a line of each: every other thread goes the one way.

struct Two {
    float a, b;
};

// x (n,): x[t] is t.
__global__ void outside(const int* x, float* y, const int fault) {
    const int t = threadIdx.x, far = 1 << 20;
    float v = 0;
    if (fault == 1) {
        if (x[t] % 2) {
            v = x[t] * 3.0f;
            y[far + t] = v;  // ODD 1
        } else {
            v = x[t + 1];
            y[far + t] = v;  // EVEN 1
        }
    }
    if (fault == 2) {
        if (x[t] % 2)
            v = y[far + t] + 1;  // ODD 2
        else
            v = y[far + t] + 2;  // EVEN 2
    }
    if (fault == 3) {
        if (x[t] % 2)
            y[far + t] = t;  // ODD 3
        else
            y[far + t] = t + x[1];  // EVEN 3
    }
    if (fault == 4) {
        switch (x[t] % 2) {
            case 0: v = x[t + 2], y[far] = v; break;  // EVEN 4
            case 1: v = x[t + 1], y[far] = v; break;  // ODD 4
        }
    }
    if (fault == 5) {
        if (x[t] % 2)
            y[far] = 1;  // ODD 5
        else
            y[far] = 2;  // EVEN 5
    }
    if (fault == 6) {
        float* const p = y + far;
        if (x[t] % 2)
            *p = x[t];  // ODD 6
        else
            *p = v;  // EVEN 6
    }
    y[t] = v;
}
// Of one member alone there is a value, and only that is read.
__global__ void one_member(const int* x, float* y) {
    __shared__ Two two;
    const int t = threadIdx.x;
    if (t == 0) two.a = 1;
    __syncthreads();
    y[t] = x[5] == 5 ? two.a : two.b;
}
// One thread overwrites what all have written.
__global__ void one_after_all(const int* x, float* y, const int chosen) {
    __shared__ float box[1];
    const int t = threadIdx.x;
    box[0] = 0;  // ALL
    if (x[t] == chosen) box[0] = 1;  // ONE
    y[t] = 1;
}
