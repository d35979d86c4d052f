import subprocess, sys, importlib.util
spec = importlib.util.spec_from_file_location("m", "/work/main/tests/integration/test_memory.py")
m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m)
def test_it(make_bert):
    model = make_bert(hidden_size=384, num_hidden_layers=2, num_attention_heads=12, intermediate_size=4*384)
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", m.SHAPES, str(model), "400"], capture_output=True, text=True, check=True)
        print("GROWTH MiB", int(done.stdout)/2**20)
    for n in (200, 800, 1600):
        done = subprocess.run([sys.executable, "-c", m.SHAPES, str(model), str(n)], capture_output=True, text=True, check=True)
        print("GROWTH of", n, "MiB", int(done.stdout)/2**20)
