// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "../helpers/fake_aoti/fake_aoti.h"
#include "aoti/model.hpp"
#include "fake_driver.hpp"

// The fake AOTInductor of tests/helpers/fake_aoti, which is both the compiled model and libtorch.
namespace pyperf::test {

inline void* fake_aoti_symbol(const char* name) {
  static void* const library = dlopen(PYPERF_FAKE_AOTI_PATH, RTLD_NOW | RTLD_LOCAL);
  void* const symbol = library == nullptr ? nullptr : dlsym(library, name);
  if (symbol == nullptr) throw std::runtime_error(std::string("no ") + name + " in " PYPERF_FAKE_AOTI_PATH);
  return symbol;
}

// The controls, as fake_aoti.h documents them, on the fake driver. Reset when this is made and when it goes.
class FakeAoti {
 public:
  FakeAoti() { reset(PYPERF_FAKE_CUDA_PATH); }
  ~FakeAoti() { reset(nullptr); }
  FakeAoti(const FakeAoti&) = delete;
  FakeAoti& operator=(const FakeAoti&) = delete;

#define PYPERF_FAKE(name)                    \
  const decltype(&::fake_aoti_##name) name = \
      reinterpret_cast<decltype(&::fake_aoti_##name)>(fake_aoti_symbol("fake_aoti_" #name));
  PYPERF_FAKE(reset)
  PYPERF_FAKE(set)
  PYPERF_FAKE(fail)
  PYPERF_FAKE(count)
  PYPERF_FAKE(empty_cache)
  PYPERF_FAKE(log)
  PYPERF_FAKE(note)
  PYPERF_FAKE(log_text)
#undef PYPERF_FAKE

  // The lines since log(true), each with a space after it.
  std::string text_of_log() const {
    std::string text(log_text(nullptr, 0), '\0');
    log_text(text.data(), text.size() + 1);
    for (auto& letter : text) {
      if (letter == '\n') letter = ' ';
    }
    return text;
  }

  std::shared_ptr<aoti::Model> model(const std::string& device) const {
    return std::make_shared<aoti::Model>(PYPERF_FAKE_AOTI_PATH, aoti::Libtorch::loaded(PYPERF_FAKE_AOTI_PATH), device,
                                         "");
  }
};

}  // namespace pyperf::test
