// SPDX-License-Identifier: Apache-2.0
#include "thread_limit.hpp"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

namespace {

constexpr int kNoLimit = -1;
std::atomic<int> threads_left{kNoLimit};

}  // namespace

// Stands before the system's, which std::thread would call.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*body)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left == 0) return EAGAIN;
  if (threads_left > 0) --threads_left;
  return create(thread, attributes, body, argument);
}

namespace pyperf::test {

ThreadLimit::ThreadLimit(int threads) { threads_left = threads; }
ThreadLimit::~ThreadLimit() { threads_left = kNoLimit; }

}  // namespace pyperf::test
