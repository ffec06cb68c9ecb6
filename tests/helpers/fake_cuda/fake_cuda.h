// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

// Controls of the fake driver: a libcuda for tests, whose streams are ordered queues on a clock that no real time
// moves.
//
// The clock. A driver call takes its cost (before it acts), a query of what is not ready also takes the poll step, and
// a wait jumps to the completion. Only fake_advance moves it otherwise. A wait for what cannot complete by itself
// (behind a closed gate, or hung) sleeps in real time, looking again every 100 us, and the clock stands.
//
// Streams. Each works off its operations one after another; streams overlap freely, the default one (0, 1 or 2) too.
// An operation starts when it has been queued and its predecessor has ended. A copy or memset touches memory when it
// ends. As with the driver, a copy of pageable host memory takes the bytes at the call (to the device) or returns when
// it is done (from the device), and cuMemFree and cuMemFreeHost wait for all that is queued.
//
// Errors. Streams, events, memory and graphs need a current context, and give CUDA_ERROR_INVALID_CONTEXT without one
// (all but cuEventQuery, for which cuda.h does not list it). A call that fails by injection does nothing, but one that
// releases (free, destroy, release, pop) releases all the same. Objects that outlive their context stay in fake_live,
// as leaks.
//
// Every function may be called from any thread. Times are nanoseconds. A function that takes a handle or a name returns
// 0, or -1 where it does not know it.
#define FAKE_CUDA_API extern "C" __attribute__((visibility("default")))

// Back to the defaults: all objects are forgotten, what hangs or waits returns CUDA_ERROR_DEINITIALIZED, the clock is
// at 0. cuInit need not be called again, as the code under test loads a driver once a process.
FAKE_CUDA_API void fake_reset();
// As in a process that has not called cuInit.
FAKE_CUDA_API void fake_forget_init();

// ---- the clock and what things take
FAKE_CUDA_API long long fake_now_ns();
FAKE_CUDA_API void fake_advance(long long ns);
// 200 for every call; with a name (cuXxx or fake_enqueue) for that one alone.
FAKE_CUDA_API void fake_call_cost(const char* function, long long ns);
FAKE_CUDA_API void fake_poll_step(long long ns);                 // 1,000
FAKE_CUDA_API void fake_record_cost(long long ns);               // 1,000 of device time
FAKE_CUDA_API void fake_event_tick(long long ns);                // 32: an event's time is rounded down to it
FAKE_CUDA_API void fake_memory_bandwidth(double bytes_per_s);    // 3.2e12, of memsets
FAKE_CUDA_API void fake_transfer_bandwidth(double bytes_per_s);  // 5e10, of copies between host and device
FAKE_CUDA_API void fake_clock_drop(double factor);               // of the duration of all that is queued later
FAKE_CUDA_API void fake_slow_first_launch(long long ns);         // host time of each graph's first launch; 0
FAKE_CUDA_API void fake_free_waits(bool on);                     // whether a free waits for queued work; true
FAKE_CUDA_API void fake_sync_inside_launch(bool on);             // cuGraphLaunch and fake_enqueue return when done
FAKE_CUDA_API void fake_block_submit_behind_gate(bool on);       // those two wait until their stream has no gate
FAKE_CUDA_API void fake_queue_limit(int operations);             // what queues waits for room on its stream; 0: none

// ---- device work
// What cuGraphLaunch takes. The launches take the durations in turn, from the first again after the last.
FAKE_CUDA_API CUgraphExec fake_graph_create(long long duration_ns);
// A destroyed graph is an invalid handle; what was launched of it goes on.
FAKE_CUDA_API int fake_graph_destroy(CUgraphExec graph);
FAKE_CUDA_API int fake_graph_durations(CUgraphExec graph, const long long* durations_ns, int count);
// Each launch copies device memory when it ends; calls add up. -1 also where that memory is not allocated.
FAKE_CUDA_API int fake_graph_copy(CUgraphExec graph, CUdeviceptr to, CUdeviceptr from, size_t bytes);
// The nth launch from now (1: the next) breaks the context when it ends: from then on the result is that of every call.
FAKE_CUDA_API int fake_graph_fault(CUgraphExec graph, int nth_launch, CUresult result);
// Arbitrary work on a stream. A call like the driver's: costs, counts, fails and blocks as cuGraphLaunch does.
FAKE_CUDA_API CUresult fake_enqueue(CUstream stream, long long duration_ns);
// How many operations of the stream have not ended, a destroyed or unknown one's: -1.
FAKE_CUDA_API int fake_pending(CUstream stream);

// ---- faults
// The nth call from now (1: the next) of that function returns the result, that one alone.
FAKE_CUDA_API void fake_fail(const char* function, int nth_call, CUresult result);
// As fake_fail, and from then on every call of any function that touches the context returns it too.
FAKE_CUDA_API void fake_fail_from(const char* function, int nth_call, CUresult result);
// Every call but those for the driver's version and the texts of errors returns CUDA_ERROR_DEVICE_UNAVAILABLE.
FAKE_CUDA_API void fake_device_lost();
// What is queued from now on, on this stream or (null) on any, never ends.
FAKE_CUDA_API int fake_hang(CUstream stream);
// What hung starts now, and nothing hangs any more.
FAKE_CUDA_API void fake_unhang();
// cuGetProcAddress does not find it.
FAKE_CUDA_API void fake_hide(const char* function);

// ---- devices
FAKE_CUDA_API void fake_driver_version(int version);  // 13000
FAKE_CUDA_API void fake_device_count(int count);      // 2, at most 16; cuInit gives CUDA_ERROR_NO_DEVICE with 0
FAKE_CUDA_API int fake_device_name(int device, const char* name);
FAKE_CUDA_API int fake_device_attribute(int device, CUdevice_attribute attribute, int value);
FAKE_CUDA_API int fake_device_memory(int device, size_t bytes);  // 80 GiB
// What can be allocated on each device; 0: all of its memory.
FAKE_CUDA_API void fake_memory_limit(size_t bytes);

// ---- accounts
// "streams", "events", "device_bytes", "host_bytes", or "contexts" (primary contexts retained and not released).
FAKE_CUDA_API long long fake_live(const char* what);
// Calls of a function since the reset, failed ones too.
FAKE_CUDA_API long long fake_calls(const char* function);
// Starts an empty log of the calls' names, or stops it.
FAKE_CUDA_API void fake_log(bool on);
// The names, one a line, in the order in which the calls began, cut to `size` with the end; returns the full length.
FAKE_CUDA_API size_t fake_log_text(char* text, size_t size);
