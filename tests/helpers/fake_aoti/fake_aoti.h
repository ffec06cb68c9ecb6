// SPDX-License-Identifier: Apache-2.0
#pragma once

// Controls of the fake AOTInductor: one library that is both a compiled model (AOTInductorModelContainer*) and the part
// of libtorch that runs it (aoti_torch_*). On a GPU it works on the fake driver of tests/helpers/fake_cuda.
//
// The model has inputs x0, x1, ... of any shape and outputs y0, y1, ...: output i has shape, strides and values of
// input i modulo their number. A run on a GPU allocates, in the context that is current, from a cache as torch's
// allocator does, and queues a graph of the driver on the stream that takes run_ns and copies when it ends. Whatever it
// is given is checked as far as that goes: a handle that is unknown or gone counts as misused, and the call fails.
//
// One thread at a time uses it, but for the gradient mode, which each thread has.
#define FAKE_AOTI_API extern "C" __attribute__((visibility("default")))

// The defaults for all below. `driver` is the libcuda to work on, by path, or null. Objects of the code under test
// stay.
FAKE_AOTI_API void fake_aoti_reset(const char* driver);

// Switches by name, each 0 unless said:
//   inputs, outputs   1 each: their number, in containers made from now on
//   run_ns            100,000: on a GPU
//   waits             a run waits until the one before has left the GPU, whatever the entry point
//   keeps_inputs      a run that fails leaves the handles of its inputs alone
//   null_outputs      outputs are null
//   offset            outputs lie that many elements into their memory
//   reversed          dimensions of outputs are in reverse order, so that they are not contiguous
//   odd_dtype         outputs have elements of a type that nobody knows
//   longer            outputs of a run have that many elements more in their first dimension
//   host_outputs      outputs are in the host's memory although the model is on a GPU
//   repeated          all outputs are the first one, by the same handle, as torch gives what is returned twice
//   silent            the model keeps no text of its failures
// Returns -1 for a name it does not know.
FAKE_AOTI_API int fake_aoti_set(const char* name, long long value);

// The nth call from now (1: the next) of a function fails, by its full name.
FAKE_AOTI_API void fake_aoti_fail(const char* function, int nth_call);

// "handles" (to tensors), "containers", "misused" (calls with a handle that is unknown or gone).
FAKE_AOTI_API long long fake_aoti_count(const char* what);

// Gives the GPU memory of outputs that are deleted back to the driver, in the context that is current.
FAKE_AOTI_API void fake_aoti_empty_cache();

// Starts an empty log, or stops it. A line is a function's name without aoti_torch_ or AOTInductorModelContainer; of a
// run also " grad" where gradients are on. Only calls of the code under test are there, and no getters of facts.
FAKE_AOTI_API void fake_aoti_log(bool on);
// A line of the test's own.
FAKE_AOTI_API void fake_aoti_note(const char* line);
// Cut to `size` with the end; returns the full length.
FAKE_AOTI_API unsigned long fake_aoti_log_text(char* text, unsigned long size);
