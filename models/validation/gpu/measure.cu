// Measures how a GPU reads its own memory and pinned host memory, one after the other and at once.
//
//     nvcc -O3 -arch=native -o measure measure.cu && ./measure > gpu.csv
//
// Prints CSV: experiment, readers of host memory (blocks), bytes read from device and from host
// memory, and times in microseconds: of the device reads, of the host reads, and of the whole.
// Every figure is the median of several runs; data is cold (buffers exceed the L2 cache).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#include <cuda_runtime.h>

#define CHECK(call)                                                                        \
    do {                                                                                   \
        cudaError_t status = (call);                                                       \
        if (status != cudaSuccess) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(status)); \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

constexpr int THREADS = 256;
constexpr size_t MIB = 1 << 20;

__device__ unsigned long long globaltime() {
    unsigned long long time;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
    return time;
}

// The first `host_blocks` blocks read `host`, the others `device`. `times` receives the earliest
// start, and the latest end of the device reads and of the host reads, in nanoseconds.
__global__ void read_both(const uint4* __restrict__ device, size_t device_count, const uint4* __restrict__ host,
                          size_t host_count, int host_blocks, unsigned* sink, unsigned long long* times) {
    if (threadIdx.x == 0) atomicMin(&times[0], globaltime());
    bool reads_host = (int)blockIdx.x < host_blocks;
    const uint4* from = reads_host ? host : device;
    size_t count = reads_host ? host_count : device_count;
    size_t readers = reads_host ? host_blocks : gridDim.x - host_blocks;
    size_t rank = reads_host ? blockIdx.x : blockIdx.x - host_blocks;
    size_t stride = readers * THREADS;
    unsigned sum = 0;
    size_t at = rank * THREADS + threadIdx.x;
    for (; at + 3 * stride < count; at += 4 * stride) {
        uint4 a = from[at], b = from[at + stride], c = from[at + 2 * stride], d = from[at + 3 * stride];
        sum ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w;
        sum ^= c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
    }
    for (; at < count; at += stride) {
        uint4 a = from[at];
        sum ^= a.x ^ a.y ^ a.z ^ a.w;
    }
    if (sum == 0x9E3779B9u) *sink = sum;
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(&times[reads_host ? 2 : 1], globaltime());
}

struct Bench {
    uint4* device;
    size_t device_bytes;
    uint4* host;
    size_t host_bytes;
    uint4* buffer;
    unsigned* sink;
    unsigned long long* times;
    int blocks;
    cudaStream_t stream, copies;
    cudaEvent_t begin, end;

    void launch(size_t device_offset, size_t device_read, size_t host_read, int host_blocks, cudaStream_t on) {
        read_both<<<blocks, THREADS, 0, on>>>(device + device_offset / 16, device_read / 16, host, host_read / 16,
                                              host_blocks, sink, times);
    }
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

// Device and host bytes read at once by one kernel.
void at_once(Bench& bench, const char* name, int host_blocks, size_t device_read, size_t host_read) {
    std::vector<double> device_us, host_us, total_us;
    for (int run = 0; run < 9; run++) {
        unsigned long long reset[3] = {~0ull, 0, 0}, times[3];
        CHECK(cudaMemcpy(bench.times, reset, sizeof reset, cudaMemcpyHostToDevice));
        CHECK(cudaEventRecord(bench.begin, bench.stream));
        bench.launch(0, device_read, host_read, host_blocks, bench.stream);
        CHECK(cudaEventRecord(bench.end, bench.stream));
        CHECK(cudaEventSynchronize(bench.end));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, bench.begin, bench.end));
        CHECK(cudaMemcpy(times, bench.times, sizeof times, cudaMemcpyDeviceToHost));
        if (run < 2) continue;
        device_us.push_back(times[1] ? (times[1] - times[0]) / 1e3 : 0);
        host_us.push_back(times[2] ? (times[2] - times[0]) / 1e3 : 0);
        total_us.push_back(ms * 1e3);
    }
    printf("%s,%d,%zu,%zu,%.2f,%.2f,%.2f\n", name, host_blocks, device_read, host_read, median(device_us),
           median(host_us), median(total_us));
}

// Kernels that each read `size` cold bytes, one after the other in a CUDA graph: time of one.
void by_size(Bench& bench, size_t size) {
    int kernels = (int)std::min<size_t>(64, std::max<size_t>(4, bench.device_bytes / size));
    size_t step = std::min(bench.device_bytes / kernels, std::max(size, 64 * MIB));
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CHECK(cudaStreamBeginCapture(bench.stream, cudaStreamCaptureModeGlobal));
    for (int kernel = 0; kernel < kernels; kernel++) {
        size_t offset = (kernel * step) % (bench.device_bytes - size + 1) / 4096 * 4096;
        bench.launch(offset, size, 0, 0, bench.stream);
    }
    CHECK(cudaStreamEndCapture(bench.stream, &graph));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    std::vector<double> us;
    for (int run = 0; run < 9; run++) {
        CHECK(cudaEventRecord(bench.begin, bench.stream));
        CHECK(cudaGraphLaunch(exec, bench.stream));
        CHECK(cudaEventRecord(bench.end, bench.stream));
        CHECK(cudaEventSynchronize(bench.end));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, bench.begin, bench.end));
        if (run >= 2) us.push_back(ms * 1e3 / kernels);
    }
    printf("by_size,0,%zu,0,%.3f,0,%.3f\n", size, median(us), median(us));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
}

// The copy engine, one direction or both at once.
void copies(Bench& bench, const char* name, bool to_device, bool to_host) {
    size_t size = 512 * MIB;
    std::vector<double> us;
    for (int run = 0; run < 7; run++) {
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaEventRecord(bench.begin, bench.stream));
        CHECK(cudaStreamWaitEvent(bench.copies, bench.begin, 0));
        if (to_device) CHECK(cudaMemcpyAsync(bench.buffer, bench.host, size, cudaMemcpyHostToDevice, bench.stream));
        cudaStream_t other = to_device ? bench.copies : bench.stream;
        char* target = (char*)bench.host + bench.host_bytes / 2;
        if (to_host) CHECK(cudaMemcpyAsync(target, bench.device, size, cudaMemcpyDeviceToHost, other));
        cudaEvent_t joined;
        CHECK(cudaEventCreate(&joined));
        CHECK(cudaEventRecord(joined, bench.copies));
        CHECK(cudaStreamWaitEvent(bench.stream, joined, 0));
        CHECK(cudaEventRecord(bench.end, bench.stream));
        CHECK(cudaEventSynchronize(bench.end));
        CHECK(cudaEventDestroy(joined));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, bench.begin, bench.end));
        if (run >= 2) us.push_back(ms * 1e3);
    }
    printf("%s,0,%zu,%zu,0,0,%.2f\n", name, to_host ? size : 0, to_device ? size : 0, median(us));
}

// The host's bytes are copied into a buffer and read there. `overlapped`: the next stage's copy
// goes on while this stage is read.
void staged(Bench& bench, size_t device_read, size_t host_read, bool overlapped) {
    const int stages = 16;
    std::vector<double> us;
    cudaEvent_t copied[stages], used[stages];
    for (int stage = 0; stage < stages; stage++) {
        CHECK(cudaEventCreateWithFlags(&copied[stage], cudaEventDisableTiming));
        CHECK(cudaEventCreateWithFlags(&used[stage], cudaEventDisableTiming));
    }
    for (int run = 0; run < 5; run++) {
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaEventRecord(bench.begin, bench.stream));
        CHECK(cudaStreamWaitEvent(bench.copies, bench.begin, 0));
        for (int stage = 0; stage < stages; stage++) {
            char* half = (char*)bench.buffer + (stage % 2) * 256 * MIB;
            if (overlapped) {
                if (stage >= 2) CHECK(cudaStreamWaitEvent(bench.copies, used[stage - 2], 0));
            } else if (stage >= 1) {
                CHECK(cudaStreamWaitEvent(bench.copies, used[stage - 1], 0));
            }
            CHECK(cudaMemcpyAsync(half, bench.host, host_read, cudaMemcpyHostToDevice, bench.copies));
            CHECK(cudaEventRecord(copied[stage], bench.copies));
            CHECK(cudaStreamWaitEvent(bench.stream, copied[stage], 0));
            bench.launch(stage * 64 * MIB, device_read, 0, 0, bench.stream);
            read_both<<<bench.blocks, THREADS, 0, bench.stream>>>((uint4*)half, host_read / 16, bench.host, 0, 0,
                                                                  bench.sink, bench.times);
            CHECK(cudaEventRecord(used[stage], bench.stream));
        }
        CHECK(cudaEventRecord(bench.end, bench.stream));
        CHECK(cudaEventSynchronize(bench.end));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, bench.begin, bench.end));
        if (run >= 1) us.push_back(ms * 1e3 / stages);
    }
    printf("%s,0,%zu,%zu,0,0,%.2f\n", overlapped ? "staged_overlapped" : "staged_serial", device_read, host_read,
           median(us));
}

// The device's bytes are read first, then the host's, in place.
void serial(Bench& bench, size_t device_read, size_t host_read, int host_blocks) {
    std::vector<double> us;
    for (int run = 0; run < 7; run++) {
        CHECK(cudaEventRecord(bench.begin, bench.stream));
        bench.launch(0, device_read, 0, 0, bench.stream);
        bench.launch(0, 0, host_read, host_blocks, bench.stream);
        CHECK(cudaEventRecord(bench.end, bench.stream));
        CHECK(cudaEventSynchronize(bench.end));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, bench.begin, bench.end));
        if (run >= 2) us.push_back(ms * 1e3);
    }
    printf("serial,%d,%zu,%zu,0,0,%.2f\n", host_blocks, device_read, host_read, median(us));
}

int main() {
    cudaDeviceProp device;
    int driver = 0, runtime = 0;
    CHECK(cudaGetDeviceProperties(&device, 0));
    CHECK(cudaDriverGetVersion(&driver));
    CHECK(cudaRuntimeGetVersion(&runtime));
    printf("# %s, %d multiprocessors, L2 %d MiB, CUDA driver %d, runtime %d\n", device.name,
           device.multiProcessorCount, device.l2CacheSize >> 20, driver, runtime);
    printf("experiment,host_blocks,device_bytes,host_bytes,device_us,host_us,total_us\n");

    Bench bench;
    bench.device_bytes = 8192 * MIB;
    bench.host_bytes = 2048 * MIB;
    bench.blocks = device.multiProcessorCount * 8;
    CHECK(cudaMalloc(&bench.device, bench.device_bytes));
    CHECK(cudaMalloc(&bench.buffer, 512 * MIB));
    CHECK(cudaMalloc(&bench.sink, sizeof(unsigned)));
    CHECK(cudaMalloc(&bench.times, 3 * sizeof(unsigned long long)));
    CHECK(cudaMallocHost(&bench.host, bench.host_bytes));
    CHECK(cudaMemset(bench.device, 1, bench.device_bytes));
    memset(bench.host, 1, bench.host_bytes);
    CHECK(cudaStreamCreate(&bench.stream));
    CHECK(cudaStreamCreate(&bench.copies));
    CHECK(cudaEventCreate(&bench.begin));
    CHECK(cudaEventCreate(&bench.end));

    for (size_t size = 16 << 10; size <= 4096 * MIB; size *= 2) {
        by_size(bench, size);
        if (size >= MIB && size < 1024 * MIB) by_size(bench, size / 2 * 3);
    }
    copies(bench, "copy_to_device", true, false);
    copies(bench, "copy_to_host", false, true);
    copies(bench, "copy_both", true, true);
    // Host memory alone, by the number of blocks that read it.
    for (int blocks : {1, 2, 4, 8, 16, 32, 66, 132, 264, 528, 1055}) {
        at_once(bench, "host_alone", blocks, 0, blocks < 8 ? 32 * MIB : 256 * MIB);
    }
    // Both at once: 1 GiB in all, at several splits.
    for (int blocks : {16, 66, 132, 264}) {
        for (double share : {0.0, 0.0025, 0.005, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03, 0.05, 0.1, 0.2}) {
            size_t host_read = (size_t)(share * 1024 * MIB) / 4096 * 4096;
            at_once(bench, "split", blocks, 1024 * MIB - host_read, host_read);
        }
    }
    // Device bandwidth while so many blocks read host memory all the time.
    for (int blocks : {0, 1, 2, 4, 8, 16, 32, 66, 132, 264, 528}) {
        size_t host_read = blocks == 0 ? 0 : blocks < 8 ? 64 * MIB : 256 * MIB;
        at_once(bench, "in_flight", blocks, 4096 * MIB, host_read);
    }
    // Staged, serial and direct at equal splits.
    for (double share : {0.01, 0.02, 0.05, 0.1, 0.2}) {
        size_t host_read = (size_t)(share * 1024 * MIB) / 4096 * 4096, device_read = 1024 * MIB - host_read;
        at_once(bench, "direct", 66, device_read, host_read);
        serial(bench, device_read, host_read, 132);
        staged(bench, device_read, host_read, false);
        staged(bench, device_read, host_read, true);
    }
    return 0;
}
