// Groups of weights laid out 16 side by side: a lane is a group, so that no sum runs across lanes, a group may have any
// width, and neighbours cannot change a group's bits.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace {

// Groups in memory, and how much their weights count: see Search.
struct GroupsOf {
  const void* weight;
  const float* importance;
  int64_t groups, width, importance_rows;
  int32_t type;
};

// Which groups the lanes are: first, first + stride, …
struct Lanes {
  int64_t first, stride, count;

  LK_LAMBDA int64_t group(int64_t lane) const { return first + lane * stride; }
  LK_LAMBDA F load_from(const float* p) const {
    float lanes[kLanes] = {0};
    for (int64_t i = 0; i < count; i++) lanes[i] = p[group(i)];
    return load(lanes);
  }
  LK_LAMBDA void store_to(float* p, F value) const {
    float lanes[kLanes];
    store(lanes, value);
    for (int64_t i = 0; i < count; i++) p[group(i)] = lanes[i];
  }
};

// The least and the largest weight of each group.
struct Ends {
  F low, top;
};

template <class Of>
LK F ends_of(const F columns[kLanes], Of of) {
  F halves[kLanes / 2];
  LK_UNROLL for (int i = 0; i < kLanes / 2; i++) halves[i] = of(columns[i], columns[i + kLanes / 2]);
  LK_UNROLL for (int by = kLanes / 4; by; by /= 2)
    LK_UNROLL for (int i = 0; i < by; i++) halves[i] = of(halves[i], halves[i + by]);
  return halves[0];
}

// to[column * 16 + lane].
template <class At>
LK Ends lay_out_groups(const void* from, int32_t type, int64_t width, int64_t count, At at, float* to) {
  Ends ends{set1(3.4e38f), set1(-3.4e38f)};
  for (int64_t c = 0; c < width; c += kLanes) {
    F rows[kLanes], columns[kLanes];
    for (int i = 0; i < kLanes; i++) rows[i] = i < count ? load_first_as(from, type, at(i) * width + c, width - c) : zero();
    transpose16(rows, columns);
    LK_UNROLL for (int i = 0; i < kLanes; i++) store(to + (c + i) * kLanes, columns[i]);
    if (c + kLanes <= width) {
      ends.low = min(ends.low, ends_of(columns, [](F a, F b) LK_LAMBDA { return min(a, b); }));
      ends.top = max(ends.top, ends_of(columns, [](F a, F b) LK_LAMBDA { return max(a, b); }));
    } else {
      for (int64_t i = 0; c + i < width; i++) ends = {min(ends.low, columns[i]), max(ends.top, columns[i])};
    }
  }
  return ends;
}

template <bool WEIGHED>
struct Groups {
  const float* x;           // (width, 16)
  const float* importance;  // likewise
  int64_t width;

  LK_LAMBDA F value(int64_t c) const { return load(x + c * kLanes); }
  LK_LAMBDA F times(int64_t c, F a) const { return WEIGHED ? mul(load(importance + c * kLanes), a) : a; }
};

// Importance in units of each group's largest, which is returned; where none counts, all do.
LK F level_importance(float* importance, int64_t width) {
  F top = zero();
  for (int64_t c = 0; c < width; c++) top = max(top, load(importance + c * kLanes));
  F safe = pick(top, zero(), top, set1(1.0f));
  for (int64_t c = 0; c < width; c++) {
    F one = div(load(importance + c * kLanes), safe);
    store(importance + c * kLanes, pick(top, zero(), one, set1(1.0f)));
  }
  return top;
}
// The same of one row of importance that all 16 groups have.
LK F share_importance(const float* from, float* importance, int64_t width) {
  F most = zero();
  for (int64_t c = 0; c < width; c += kLanes) most = max(most, load_first(from + c, width - c));
  F top = set1(max_lanes(most)), safe = pick(top, zero(), top, set1(1.0f));
  for (int64_t c = 0; c < width; c += kLanes) {
    float one[kLanes];
    store(one, pick(top, zero(), div(load_first(from + c, width - c), safe), set1(1.0f)));
    for (int64_t i = 0; i < kLanes && c + i < width; i++) store(importance + (c + i) * kLanes, set1(one[i]));
  }
  return top;
}

// Bytes of a worker for 16 groups of this width and their importance.
static size_t groups_bytes(int64_t width) {
  return (size_t)((width + kLanes - 1) / kLanes * kLanes * kLanes) * 2 * sizeof(float);
}

// Have memory bring what the lanes after these begin with, while these are worked on.
LK void expect_groups(const GroupsOf& a, const Lanes& lanes) {
  int64_t bytes = a.width * (a.type == kFloat32 ? 4 : 2), next = lanes.stride == 1 ? kLanes : 1;
  for (int64_t lane = 0; lane < lanes.count; lane++) {
    const char* from = (const char*)a.weight + (lanes.group(lane) + next) * bytes;
    for (int64_t i = 0; i < bytes && i < 256; i += 64) __builtin_prefetch(from + i);
  }
}

// Lay out 16 groups after another and call on them. Where rows of importance come again and again, as those of a
// matrix's columns do with each of its rows, the groups side by side are those that have the same.
template <class Call>
LK void each_16(Worker& worker, const GroupsOf& a, char* memory, Call call) {
  float* x = (float*)memory;
  float* importance = x + groups_bytes(a.width) / 2 / sizeof(float);
  int64_t turns = a.groups / a.importance_rows;  // of the rows of importance
  bool shared = a.importance && (turns >= kLanes || a.importance_rows == 1);
  int64_t stride = shared ? a.importance_rows : 1, apart = a.groups / stride;
  int64_t some = 1 + 1024 / a.width, tasks = (apart + kLanes - 1) / kLanes * stride;
  for (int64_t task; (task = claim(worker, some)) < tasks;)
    for (int64_t i = task; i < task + some && i < tasks; i++) {
      int64_t begin = i / stride * kLanes, column = i % stride;
      Lanes lanes{begin * stride + column, stride, apart - begin < kLanes ? apart - begin : kLanes};
      auto group = [&](int64_t lane) LK_LAMBDA { return lanes.group(lane); };
      Ends ends = lay_out_groups(a.weight, a.type, a.width, lanes.count, group, x);
      expect_groups(a, lanes);
      F top = set1(1.0f);
      if (shared) {
        top = share_importance(a.importance + column * a.width, importance, a.width);
      } else if (a.importance) {
        auto at = [&](int64_t lane) LK_LAMBDA { return lanes.group(lane) % a.importance_rows; };
        lay_out_groups(a.importance, kFloat32, a.width, lanes.count, at, importance);
        top = level_importance(importance, a.width);
      }
      call(lanes, ends, x, importance, top);
    }
}

}  // namespace
