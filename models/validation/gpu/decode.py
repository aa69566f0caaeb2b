"""Measures decode steps of real models' shapes, with random weights, on one GPU: PyTorch's own
kernels in a CUDA graph. Prints CSV.

    python3 decode.py > decode.csv

Each layer runs RMSNorm, the QKV product, attention over the KV cache (PyTorch's
scaled_dot_product_attention), the output product, RMSNorm, the gate and up product, SiLU and
multiplication, and the down product; a step ends with RMSNorm, the head and argmax. Positions are
not rotated. A time is the median of 20 replays of the graph.
"""
import sys, time
import torch
import torch.nn.functional as F

MODELS = {
    # name: layers, hidden, heads, kv heads, head size, intermediate, vocabulary
    "qwen2.5-0.5b": (24, 896, 14, 2, 64, 4864, 151936),
    "llama-3.1-8b": (32, 4096, 32, 8, 128, 14336, 128256),
    "llama-2-7b": (32, 4096, 32, 32, 128, 11008, 32000),
    "qwen2.5-7b": (28, 3584, 28, 4, 128, 18944, 152064),
    "qwen3-32b": (64, 5120, 64, 8, 128, 25600, 151936),
}
POINTS = {1: (16, 4096, 16384, 32768), 8: (1024, 4096), 32: (1024, 4096)}


def weights(rows, columns):
    return torch.empty(rows, columns, dtype=torch.bfloat16, device="cuda").normal_(0, 0.02)


class Model:
    def __init__(self, shape):
        self.layers, self.hidden, self.heads, self.kv, self.size, inter, vocabulary = shape
        self.norm = torch.ones(self.hidden, dtype=torch.bfloat16, device="cuda")
        width = (self.heads + 2 * self.kv) * self.size
        self.stack = [(weights(width, self.hidden), weights(self.hidden, self.heads * self.size),
                       weights(2 * inter, self.hidden), weights(self.hidden, inter)) for _ in range(self.layers)]
        self.embedding = weights(vocabulary, self.hidden)
        self.head = weights(vocabulary, self.hidden)

    def step(self, token, caches, at):
        x = F.embedding(token, self.embedding)
        batch = x.shape[0]
        for (qkv, out, up, down), (keys, values) in zip(self.stack, caches):
            y = F.linear(F.rms_norm(x, (self.hidden,), self.norm), qkv)
            q, k, v = y.split((self.heads * self.size, self.kv * self.size, self.kv * self.size), dim=-1)
            keys[:, :, at] = k.view(batch, self.kv, self.size)
            values[:, :, at] = v.view(batch, self.kv, self.size)
            q = q.view(batch, self.heads, 1, self.size)
            a = F.scaled_dot_product_attention(q, keys, values, enable_gqa=self.heads != self.kv)
            x = x + F.linear(a.reshape(batch, self.heads * self.size), out)
            gate, linear = F.linear(F.rms_norm(x, (self.hidden,), self.norm), up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * linear, down)
        return F.linear(F.rms_norm(x, (self.hidden,), self.norm), self.head).argmax(dim=-1)


def graph_time(run, replays=20):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    for _ in range(3):
        graph.replay()
    times = []
    for _ in range(replays):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def main():
    print(f"# {torch.cuda.get_device_name()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    print("experiment,model,batch,context_tokens,ms", flush=True)
    with torch.inference_mode():
        # Products of one row by size: each reads other weights, cold.
        for n, k in ((1024, 1024), (2048, 2048), (4096, 4096), (6144, 4096), (28672, 4096), (4096, 14336), (8192, 8192),
                     (57344, 8192), (8192, 28672), (128256, 4096)):
            count = max(4, min(64, (1 << 30) // (2 * n * k)))
            stack = [weights(n, k) for _ in range(count)]
            for batch in (1, 8, 32):
                x = weights(batch, k)
                ms = graph_time(lambda: [F.linear(x, w) for w in stack]) / count
                print(f"linear,{n}x{k},{batch},0,{ms:.5f}", flush=True)
            del stack
        # Attention of one layer of Llama-3.1-8B's shape.
        for batch, context in ((1, 1024), (1, 4096), (1, 16384), (1, 65536), (8, 4096), (8, 16384), (32, 4096)):
            count = max(2, min(16, (1 << 30) // (batch * context * 4096)))
            caches = [(weights(batch * 8 * context, 128).view(batch, 8, context, 128),
                       weights(batch * 8 * context, 128).view(batch, 8, context, 128)) for _ in range(count)]
            q = weights(batch * 32, 128).view(batch, 32, 1, 128)
            run = lambda: [F.scaled_dot_product_attention(q, k, v, enable_gqa=True) for k, v in caches]
            print(f"attention,32q-8kv-128,{batch},{context},{graph_time(run) / count:.5f}", flush=True)
            del caches
        torch.cuda.empty_cache()
        for name, shape in MODELS.items():
            model = Model(shape)
            for batch, contexts in POINTS.items():
                for context in contexts:
                    bytes_kv = batch * context * model.layers * model.kv * model.size * 4
                    if bytes_kv > torch.cuda.mem_get_info()[0] - (2 << 30):
                        continue
                    try:
                        caches = [tuple(torch.zeros(batch, model.kv, context, model.size, dtype=torch.bfloat16,
                                                    device="cuda") for _ in range(2)) for _ in range(model.layers)]
                        token = torch.zeros(batch, dtype=torch.long, device="cuda")
                        ms = graph_time(lambda: model.step(token, caches, context - 1))
                        print(f"decode,{name},{batch},{context},{ms:.4f}", flush=True)
                    except Exception as error:
                        print(f"# {name} {batch} {context}: {type(error).__name__}: {error}", flush=True)
                    caches = None
                    torch.cuda.empty_cache()
            del model
            torch.cuda.empty_cache()


main()
