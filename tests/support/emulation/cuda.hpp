// CUDA C++ for g++: what the kernels use of it, on top of runtime.cpp. Included ahead of a kernel.

#pragma once

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)

struct dim3 {
    unsigned x, y, z;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

extern "C" {
struct EmulatedThread {
    dim3 thread, block, grid;
};
extern EmulatedThread* emulated_thread;
void* emulated_shared(unsigned long size);
void emulated_touch(const void* pointer, unsigned long bytes, int writing);
void emulated_sync_block();
void emulated_sync_warp(unsigned mask);
void emulated_shuffle(unsigned mask, const void* value, void* result, unsigned long size, int step);
unsigned emulated_rank();
void emulated_arrive();
void emulated_wait();
void* emulated_shared_of(void* pointer, unsigned rank);

float expf(float), expm1f(float), logf(float), log1pf(float), sqrtf(float), fabsf(float);
float sinf(float), cosf(float), sinhf(float), coshf(float), tanhf(float);
float exp2f(float), fmaf(float, float, float);
double exp(double), expm1(double), log(double), log1p(double), sqrt(double), fabs(double);
double sin(double), cos(double), sinh(double), cosh(double), tanh(double), pow(double, double);
}

#define OVERLOAD(name) \
    inline float name(float x) { return name##f(x); }
OVERLOAD(exp) OVERLOAD(expm1) OVERLOAD(log) OVERLOAD(log1p) OVERLOAD(sqrt) OVERLOAD(fabs)
OVERLOAD(sin) OVERLOAD(cos) OVERLOAD(sinh) OVERLOAD(cosh) OVERLOAD(tanh)

#define threadIdx (emulated_thread->thread)
#define blockIdx (emulated_thread->block)
#define gridDim (emulated_thread->grid)

#define SHARED(type, name) type& name = *static_cast<type*>(emulated_shared(sizeof(type)))
#define TOUCH(pointer, bytes, writing) emulated_touch(pointer, bytes, writing)

inline float __int_as_float(int bits) {
    float number;
    __builtin_memcpy(&number, &bits, 4);
    return number;
}
inline int __float_as_int(float number) {
    int bits;
    __builtin_memcpy(&bits, &number, 4);
    return bits;
}

template <class T> T __ldcg(const T* from) { return *from; }
template <class T> void __stcg(T* to, T word) { *to = word; }

#include "halves.hpp"

inline void __syncthreads() { emulated_sync_block(); }
inline void __syncwarp(unsigned mask) { emulated_sync_warp(mask); }
template <class T> T __shfl_xor_sync(unsigned mask, T value, int step) {
    T result;
    emulated_shuffle(mask, &value, &result, sizeof(T), step);
    return result;
}
inline unsigned __clusterRelativeBlockRank() { return emulated_rank(); }
inline void __cluster_barrier_arrive() { emulated_arrive(); }
inline void __cluster_barrier_wait() { emulated_wait(); }
inline void* __cluster_map_shared_rank(void* pointer, unsigned rank) {
    return emulated_shared_of(pointer, rank);
}
