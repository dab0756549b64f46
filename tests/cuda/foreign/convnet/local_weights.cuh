#ifndef LOCAL_WEIGHTS_CUH
#define LOCAL_WEIGHTS_CUH
typedef enum { CONSTANT_RATE = 0, DECAYED_RATE = 1 } RateKind;
#endif
