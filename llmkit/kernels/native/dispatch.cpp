// Which level runs: decided once, by what the processor and the operating system offer.
#include <stdlib.h>
#include <string.h>

#include <initializer_list>

#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace {

struct Candidate {
  const char* name;
  const Kernels* (*const* level)();
  bool (*runs)();
};

bool always() { return true; }

#if defined(__x86_64__)
// CPUID and XGETBV themselves: compilers differ in the names that their builtins know. Bits: Intel SDM, volume 2A.
struct Features {
  uint32_t leaf1_ecx = 0, leaf7_ebx = 0, leaf7_ecx = 0, leaf7_1_eax = 0, saved = 0;

  Features() {
    uint32_t eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) leaf1_ecx = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) leaf7_ebx = ebx, leaf7_ecx = ecx;
    if (__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) leaf7_1_eax = eax;
    if (leaf1_ecx >> 27 & 1) asm("xgetbv" : "=a"(saved), "=d"(edx) : "c"(0));  // what the system saves of a thread
  }
};

bool has(uint32_t word, std::initializer_list<int> bits) {
  for (int bit : bits)
    if (!(word >> bit & 1)) return false;
  return true;
}

bool has_avx2() {
  Features f;
  return has(f.leaf1_ecx, {12, 27, 29}) && has(f.leaf7_ebx, {5}) && has(f.saved, {1, 2});  // FMA, F16C; AVX2; YMM
}
bool has_avx512() {
  Features f;  // F, DQ, BW, VL; VNNI; masks and ZMM
  return has_avx2() && has(f.leaf7_ebx, {16, 17, 30, 31}) && has(f.leaf7_ecx, {11}) && has(f.saved, {5, 6, 7});
}
#ifdef LLMKIT_LEVEL_AVX512BF16
bool has_avx512bf16() {
#ifdef LLMKIT_EMULATE_BF16
  return has_avx512();
#else
  return has_avx512() && has(Features().leaf7_1_eax, {5});
#endif
}
#endif
#elif defined(__aarch64__)
bool has_dot_product() {
#ifdef __linux__
  return getauxval(AT_HWCAP) & (1 << 20);  // HWCAP_ASIMDDP
#else
  return true;  // every Apple processor of this architecture
#endif
}
#endif

// Best first.
const Candidate kCandidates[] = {
#ifdef LLMKIT_LEVEL_AVX512BF16
    {"avx512bf16", &avx512bf16_level, has_avx512bf16},
#endif
#ifdef LLMKIT_LEVEL_AVX512
    {"avx512", &avx512_level, has_avx512},
#endif
#ifdef LLMKIT_LEVEL_AVX2
    {"avx2", &avx2_level, has_avx2},
#endif
#ifdef LLMKIT_LEVEL_NEON
    {"neon", &neon_level, has_dot_product},
#endif
    {"portable", &portable_level, always},
};

const Kernels* choose() {
  const char* forced = getenv("LLMKIT_KERNELS");
  for (const Candidate& one : kCandidates)
    if (one.runs() && (!forced || !*forced || !strcmp(forced, one.name))) return (*one.level)();
  return nullptr;
}

}  // namespace

const Kernels* kernels() {
  static const Kernels* const chosen = choose();
  return chosen;
}
