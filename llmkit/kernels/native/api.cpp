// The C functions that Python calls. Arguments are checked there; each call is one region of the pool.
#include "kernels.h"
#include "region.h"

namespace {

constexpr int64_t kRowsAtOnce = 960;  // activation rows prepared together: bounds the scratch memory

}  // namespace

LLMKIT_API int32_t llmkit_abi_version() { return kAbiVersion; }

// The level in use, or null where LLMKIT_KERNELS names one that is absent ("off", say).
LLMKIT_API const char* llmkit_level() { return kernels() ? kernels()->name : nullptr; }

LLMKIT_API void llmkit_set_threads(int32_t count) { set_threads(count); }
LLMKIT_API int32_t llmkit_threads() { return threads(); }

LLMKIT_API int64_t llmkit_packed_bytes(const Weight* weight) {
  return static_cast<int64_t>(kernels()->packed_bytes(*weight));
}

LLMKIT_API bool llmkit_pack_coded(const CodedRows* from, const Weight* to) {
  return region([&](Worker& worker, char*) { kernels()->pack_coded(worker, *from, *to); }, from->rows * to->cols);
}

LLMKIT_API void llmkit_coded_row(const Weight* weight, int64_t row, float* out) {
  kernels()->coded_row(*weight, row, out);
}

LLMKIT_API bool llmkit_pack(int32_t type, const void* data, int64_t stride, const uint16_t* scales,
                            int64_t scale_stride, const Weight* to) {
  Pack pack{data, scales, stride, scale_stride, type, *to};
  return region([&](Worker& worker, char*) { kernels()->pack(worker, pack); }, to->rows * to->cols);
}

LLMKIT_API bool llmkit_matmul(const Weight* weight, int32_t x_type, const void* x, int64_t x_stride, int64_t batch,
                              const float* bias, int32_t accumulate, float* y, int64_t y_stride) {
  const Kernels& k = *kernels();
  int64_t x_bytes = x_type == kFloat32 ? 4 : 2;
  for (int64_t b = 0; b < batch; b += kRowsAtOnce) {
    int64_t rows = batch - b < kRowsAtOnce ? batch - b : kRowsAtOnce;
    const void* part = static_cast<const char*>(x) + b * x_stride * x_bytes;
    Output output{y + b * y_stride, y_stride, bias, accumulate != 0};
    auto body = [&](Worker& worker, char* memory) {
      Prepared p = k.lay_out(weight->format, rows, weight->cols, memory);
      k.prepare(worker, p, x_type, part, x_stride, weight->cols);
      barrier(worker);
      k.multiply(worker, *weight, p, output, worker.own);
    };
    Scratch scratch{k.prepared_bytes(weight->format, rows, weight->cols), k.multiply_bytes()};
    if (!region(body, rows * weight->rows * weight->cols, scratch)) return false;
  }
  return true;
}

LLMKIT_API bool llmkit_rms_norm(const float* x, const float* weight, float* out, int64_t rows, int64_t cols,
                                int64_t x_stride, int64_t out_stride, float epsilon, float offset) {
  RmsNorm norm{x, weight, out, rows, cols, x_stride, out_stride, epsilon, offset};
  return region([&](Worker& worker, char*) { kernels()->rms_norm(worker, norm); }, rows * cols);
}

LLMKIT_API bool llmkit_rotary(float* x, const float* cosine, const float* sine, const int32_t* positions, int64_t rows,
                              int64_t x_stride, int32_t heads, int32_t head_dim, int32_t rotary_dim) {
  Rotary rotary{x, cosine, sine, positions, rows, x_stride, heads, head_dim, rotary_dim};
  return region([&](Worker& worker, char*) { kernels()->rotary(worker, rotary); }, rows * heads * rotary_dim);
}

LLMKIT_API bool llmkit_gated(int32_t activation, const float* gate, const float* up, float* out, int64_t rows,
                             int64_t cols, int64_t gate_stride, int64_t up_stride, int64_t out_stride) {
  Gated gated{gate, up, out, rows, cols, gate_stride, up_stride, out_stride, activation, 0.0f, nullptr};
  return region([&](Worker& worker, char*) { kernels()->gated(worker, gated); }, rows * cols);
}

LLMKIT_API bool llmkit_attention(const Attention* attention) {
  const Kernels& k = *kernels();
  int64_t work = 0;
  for (int32_t b = 0; b < attention->sequences; b++) work += attention->lengths[b];
  work *= attention->kv_heads * static_cast<int64_t>(attention->key_dim + attention->value_dim);
  auto body = [&](Worker& worker, char* memory) {
    k.attend(worker, *attention, reinterpret_cast<float*>(memory), worker.own);
  };
  Scratch scratch{k.attention_partial_bytes(*attention), k.attention_tile_bytes(*attention)};
  return region(body, work, scratch);
}

LLMKIT_API bool llmkit_learn_attention(const LearntAttention* a) {
  const Kernels& k = *kernels();
  auto body = [&](Worker& worker, char* shared) { k.learn_attention(worker, *a, shared); };
  int64_t work = static_cast<int64_t>(a->rows) * a->heads * a->length * a->key_dim;
  return region(body, work, k.learn_scratch(*a));
}

// Bytes of memory that one worker touches of a call's, all of its threads having one of their own.
LLMKIT_API int64_t llmkit_learn_attention_bytes(const LearntAttention* a) {
  return static_cast<int64_t>(kernels()->learn_scratch(*a).own);
}

LLMKIT_API bool llmkit_cross_entropy(const CrossEntropy* a) {
  return region([&](Worker& worker, char*) { kernels()->cross_entropy(worker, *a); }, a->rows * a->cols);
}

LLMKIT_API bool llmkit_learn_gate(const LearntGate* a) {
  return region([&](Worker& worker, char*) { kernels()->learn_gate(worker, *a); }, a->count);
}

LLMKIT_API bool llmkit_learn_rotation(const LearntRotation* a) {
  return region([&](Worker& worker, char*) { kernels()->learn_rotation(worker, *a); },
                a->rows * a->heads * a->length * a->head_dim);
}

LLMKIT_API bool llmkit_keep(const float* from, void* to, float* scales, const int32_t* places, int64_t rows,
                            int32_t heads, int32_t head_dim, int32_t type) {
  Keep keep{from, to, scales, places, rows, heads, head_dim, type, static_cast<int64_t>(heads) * head_dim, heads};
  return region([&](Worker& worker, char*) { kernels()->keep(worker, keep); }, rows * heads * head_dim);
}

LLMKIT_API uint32_t llmkit_read_memory(const void* data, int64_t bytes) {
  ReadMemory read{static_cast<const char*>(data), bytes, 0};
  region([&](Worker& worker, char*) { kernels()->read_memory(worker, read); }, bytes);
  return read.sum;
}
