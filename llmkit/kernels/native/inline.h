// Everything in a level is inlined and has internal linkage: see pool.h for why.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LK static inline __attribute__((always_inline, unused))
#define LK_LAMBDA __attribute__((always_inline))
#define LK_SELDOM static __attribute__((noinline, cold, unused))

#ifdef __clang__
#define LK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LK_UNROLL _Pragma("GCC unroll 32")
#endif
