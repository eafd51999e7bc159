"""numpy with OpenBLAS threads: matrix products, a solve, an FFT, sorting, strided and masked element-wise work."""
import numpy as np

random = np.random.default_rng(1)
a = random.standard_normal((192, 160))
b = random.standard_normal((160, 224))
print("gemm", float((a @ b).sum()))
print("float32", float((a.astype(np.float32) @ b.astype(np.float32)).std()))
square = a @ a.T + 200 * np.eye(192)
print("solve", float(np.linalg.solve(square, a).sum()))
print("eigenvalues", float(np.linalg.eigvalsh(square)[-1]))
print("fft", complex(np.fft.fft(a.ravel())[17]))
print("sort", np.sort((a.ravel() * 1000).astype(np.int64))[::3000].tolist())
masked = np.where(a > 0, np.exp(-a), np.tanh(a))[:, ::3]
print("masked", float(masked.sum()), int(np.count_nonzero(masked > 0.5)))
