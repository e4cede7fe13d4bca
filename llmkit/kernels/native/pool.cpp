// The team's threads: they spin briefly between regions, since the next one is often microseconds away, then sleep.
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

namespace {

constexpr int kSpins = 1500;         // tens of microseconds: longer than a barrier, shorter than a token
constexpr int32_t kMaxThreads = 256;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

#ifdef __linux__
void sleep_while(uint32_t* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake_all(uint32_t* word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, kMaxThreads, nullptr, nullptr, 0); }
#else
pthread_mutex_t sleep_mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t sleep_condition = PTHREAD_COND_INITIALIZER;
void sleep_while(uint32_t* word, uint32_t value) {
  pthread_mutex_lock(&sleep_mutex);
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) pthread_cond_wait(&sleep_condition, &sleep_mutex);
  pthread_mutex_unlock(&sleep_mutex);
}
void wake_all(uint32_t*) {
  pthread_mutex_lock(&sleep_mutex);
  pthread_cond_broadcast(&sleep_condition);
  pthread_mutex_unlock(&sleep_mutex);
}
#endif

void wait_while(uint32_t* word, uint32_t value, int32_t* sleepers) {
  for (int spin = 0; spin < kSpins; spin++) {
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) return;
    relax();
  }
  __atomic_add_fetch(sleepers, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == value) sleep_while(word, value);
  __atomic_sub_fetch(sleepers, 1, __ATOMIC_SEQ_CST);
}

void advance(uint32_t* word, int32_t* sleepers) {
  __atomic_add_fetch(word, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(sleepers, __ATOMIC_SEQ_CST) > 0) wake_all(word);
}

struct Pool {
  Team team;
  Body body = nullptr;
  void* argument = nullptr;
  char* scratch = nullptr;  // what is shared, then each worker's own
  size_t scratch_bytes = 0, shared_bytes = 0, own_bytes = 0;
  alignas(64) uint32_t epoch = 0;  // one more for each region, and round again: the team may live for weeks
  int32_t sleepers = 0;
  bool closing = false;
  int32_t started = 0;  // threads beside the caller
  pthread_t threads[kMaxThreads];
  pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
};

Worker worker_of(Pool* pool, Team* team, int32_t index) {
  char* own = pool->scratch + pool->shared_bytes + static_cast<size_t>(index) * pool->own_bytes;
  return Worker{team, index, team->size, own};
}

struct Start {
  Pool* pool;
  int32_t index;
  uint32_t epoch;
};

void* serve(void* raw) {
  Start start = *static_cast<Start*>(raw);
  free(raw);
  Pool* pool = start.pool;
  for (uint32_t seen = start.epoch;; seen++) {
    wait_while(&pool->epoch, seen, &pool->sleepers);
    if (pool->closing) return nullptr;
    Worker worker = worker_of(pool, &pool->team, start.index);
    pool->body(worker, pool->scratch, pool->argument);
    barrier(worker);
  }
}

void stop_threads(Pool* pool) {
  pool->closing = true;
  advance(&pool->epoch, &pool->sleepers);
  for (int32_t i = 0; i < pool->started; i++) pthread_join(pool->threads[i], nullptr);
  pool->started = 0;
  pool->closing = false;
}

bool start_threads(Pool* pool, int32_t wanted) {
  while (pool->started < wanted) {
    Start* start = static_cast<Start*>(malloc(sizeof(Start)));
    if (!start) break;
    *start = Start{pool, pool->started + 1, pool->epoch};
    if (pthread_create(&pool->threads[pool->started], nullptr, serve, start)) {
      free(start);
      break;
    }
    pool->started++;
  }
  pool->team.size = pool->started + 1;
  return pool->started == wanted;
}

// A fork keeps the memory and loses the threads (and maybe a held mutex): the child starts afresh and leaks the old pool.
Pool* current = nullptr;
int32_t wanted_threads = 0;  // 0: as many as the process may use
pthread_mutex_t current_mutex = PTHREAD_MUTEX_INITIALIZER;

void forget_pool() {
  current = nullptr;
  current_mutex = PTHREAD_MUTEX_INITIALIZER;
}

int32_t usable_threads() {
  if (wanted_threads) return wanted_threads;
  long count = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
  cpu_set_t set;
  if (!sched_getaffinity(0, sizeof(set), &set)) count = CPU_COUNT(&set);
#endif
  return count < 1 ? 1 : count > kMaxThreads ? kMaxThreads : static_cast<int32_t>(count);
}

Pool* pool() {
  pthread_mutex_lock(&current_mutex);
  if (!current) {
    static bool hooked = false;
    if (!hooked) hooked = !pthread_atfork(nullptr, nullptr, forget_pool);
    current = new Pool;
  }
  Pool* result = current;
  pthread_mutex_unlock(&current_mutex);
  return result;
}

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Room for what a region of `workers` asks for; nothing of it outlives the region.
bool reserve(Pool* pool, Scratch scratch, int32_t workers) {
  pool->shared_bytes = aligned(scratch.shared);
  pool->own_bytes = aligned(scratch.own);
  size_t bytes = pool->shared_bytes + static_cast<size_t>(workers) * pool->own_bytes;
  if (bytes <= pool->scratch_bytes) return true;
  free(pool->scratch);
  void* memory = nullptr;
  bool done = !posix_memalign(&memory, 64, bytes);
  pool->scratch = done ? static_cast<char*>(memory) : nullptr;
  pool->scratch_bytes = done ? bytes : 0;
  return done;
}

}  // namespace

void barrier(Worker& worker) {
  Team* team = worker.team;
  if (worker.size == 1) {
    team->cursor = 0;
    return;
  }
  uint32_t generation = __atomic_load_n(&team->generation, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == worker.size) {
    __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&team->cursor, 0, __ATOMIC_RELAXED);
    advance(&team->generation, &team->sleepers);
  } else {
    wait_while(&team->generation, generation, &team->sleepers);
  }
}

bool run_region(Body body, void* argument, Scratch scratch, bool wide) {
  Pool* mine = pool();
  pthread_mutex_lock(&mine->turn);
  int32_t workers = wide ? usable_threads() : 1;  // asked once: another thread may set another number meanwhile
  bool ready = reserve(mine, scratch, workers);
  if (ready && wide && mine->started + 1 != workers) {
    stop_threads(mine);
    ready = start_threads(mine, workers - 1);
  }
  if (ready && wide && mine->started) {
    mine->body = body;
    mine->argument = argument;
    mine->team.cursor = 0;
    advance(&mine->epoch, &mine->sleepers);
    Worker worker = worker_of(mine, &mine->team, 0);
    body(worker, mine->scratch, argument);
    barrier(worker);
  } else if (ready) {
    Team alone;
    Worker worker = worker_of(mine, &alone, 0);
    body(worker, mine->scratch, argument);
  }
  pthread_mutex_unlock(&mine->turn);
  return ready;
}

void set_threads(int32_t count) { wanted_threads = count < 0 ? 0 : count > kMaxThreads ? kMaxThreads : count; }

int32_t threads() { return usable_threads(); }
