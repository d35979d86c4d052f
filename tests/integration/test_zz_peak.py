import importlib.util

spec = importlib.util.spec_from_file_location("m", "/work/main/tests/integration/test_memory.py")
m = importlib.util.module_from_spec(spec)
spec.loader.exec_module(m)


def test_it(make_bert, tmp_path):
    model = make_bert(hidden_size=384, num_hidden_layers=1, num_attention_heads=12, intermediate_size=64)
    m.peak_bytes(model, tmp_path, 10)
    for n in (20_000, 80_000, 160_000, 20_000, 80_000):
        print("PEAK", n, m.peak_bytes(model, tmp_path, n) / 1e6)
