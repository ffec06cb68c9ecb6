// SPDX-License-Identifier: Apache-2.0
#pragma once

// Controls of the fake ONNX Runtime: a library with OrtGetApiBase for tests, whose CUDA provider works on the fake
// driver of tests/helpers/fake_cuda.
//
// The model, whatever the file: one input x, float32 [batch, 4], and an output y of the same shape and values. A run
// queues a graph of the driver on the user's stream that takes run_ns and copies x to y when it ends; unless the run
// option disable_synchronize_execution_providers is 1, it then waits for the stream. A session with enable_cuda_graph=1
// captures in its first run: later ones launch what was captured then, whatever is bound.
//
// Only what the code under test calls is there: any other function of the table prints its slot and aborts.
#define FAKE_ORT_API extern "C" __attribute__((visibility("default")))

// The libcuda to work on, by path; and the defaults for all below. The objects of the code under test stay.
FAKE_ORT_API void fake_ort_reset(const char* driver);

// Switches by name, each 0 unless said:
//   run_ns          100,000
//   synchronises    a run waits for the stream although it is told not to
//   stale           a captured graph copies from where x's values were kept when it was captured
//   idle            a captured graph writes nothing when it is launched again
//   constant        y is zeros
//   host_output     an output h, like y, is made in the host's memory
//   other_output    an output s that is no tensor
//   memcpy_nodes    how many copies between devices the session logs
//   cpu_nodes       how many nodes, named on_cpu_N, are on the CPU
//   version         31: of the interface
// Returns -1 for a name it does not know.
FAKE_ORT_API int fake_ort_set(const char* name, long long value);

// The nth call from now (1: the next) of a function, by its name in the public header, fails with that message.
FAKE_ORT_API void fake_ort_fail(const char* function, int nth_call, const char* message);

// Objects of the code under test that are not released.
FAKE_ORT_API long long fake_ort_live();

// What was called, with arguments where a test needs them, one a line: "BindInput x", "UpdateCUDAProviderOptions
// device_id=0". Cut to `size` with the end; returns the full length. With `clear` the log is empty then.
FAKE_ORT_API unsigned long fake_ort_log(char* text, unsigned long size, int clear);
