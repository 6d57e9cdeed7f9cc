/* Counts large copies of a process: preloaded (LD_PRELOAD) it stands in for memcpy and its kin of the C library.

   The counters lie in the file "$EDGE_BENCH_COPIES.PID", so they can be read while the process runs:
     u64 calls of at least $EDGE_BENCH_COPY_BYTES bytes
     u64 bytes of calls of at least LEAST_BYTES bytes
   What a loop in a program copies by itself is not seen, nor what the kernel copies. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEAST_BYTES 4096

typedef void *(*copier)(void *, const void *, size_t);

static uint64_t nowhere[2];
static uint64_t *counters = nowhere;
static size_t threshold = SIZE_MAX;
static copier real_memcpy, real_memmove, real_mempcpy;

__attribute__((constructor)) static void begin(void) {
  const char *prefix = getenv("EDGE_BENCH_COPIES"), *bytes = getenv("EDGE_BENCH_COPY_BYTES");
  char path[4096];
  real_memcpy = (copier)dlsym(RTLD_NEXT, "memcpy");
  real_memmove = (copier)dlsym(RTLD_NEXT, "memmove");
  real_mempcpy = (copier)dlsym(RTLD_NEXT, "mempcpy");
  if (prefix == NULL || bytes == NULL || snprintf(path, sizeof path, "%s.%d", prefix, (int)getpid()) >= (int)sizeof path)
    return;
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return;
  if (ftruncate(file, sizeof nowhere) == 0) {
    void *mapped = mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) {
      counters = mapped;
      threshold = strtoull(bytes, NULL, 10);
    }
  }
  close(file);
}

static inline void count(size_t size) {
  if (size < LEAST_BYTES) return;
  __atomic_fetch_add(&counters[1], size, __ATOMIC_RELAXED);
  if (size >= threshold) __atomic_fetch_add(&counters[0], 1, __ATOMIC_RELAXED);
}

/* Before the constructor has run: the loader copies, too. The attribute keeps the compiler from making a memcpy of it. */
__attribute__((optimize("no-tree-loop-distribute-patterns"), noinline)) static void *
by_hand(void *to, const void *from, size_t size) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if (out <= in)
    for (size_t at = 0; at < size; at++) out[at] = in[at];
  else
    while (size--) out[size] = in[size];
  return to;
}

void *memcpy(void *to, const void *from, size_t size) {
  count(size);
  return real_memcpy ? real_memcpy(to, from, size) : by_hand(to, from, size);
}

void *memmove(void *to, const void *from, size_t size) {
  count(size);
  return real_memmove ? real_memmove(to, from, size) : by_hand(to, from, size);
}

void *mempcpy(void *to, const void *from, size_t size) {
  count(size);
  return real_mempcpy ? real_mempcpy(to, from, size) : (char *)by_hand(to, from, size) + size;
}

/* What a program calls that was compiled with _FORTIFY_SOURCE. */
void *__memcpy_chk(void *to, const void *from, size_t size, size_t room) {
  if (size > room) abort();
  return memcpy(to, from, size);
}

void *__memmove_chk(void *to, const void *from, size_t size, size_t room) {
  if (size > room) abort();
  return memmove(to, from, size);
}

void *__mempcpy_chk(void *to, const void *from, size_t size, size_t room) {
  if (size > room) abort();
  return mempcpy(to, from, size);
}
