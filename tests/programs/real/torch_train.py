"""Trains a small transformer for three AdamW steps in PyTorch. usage: torch_train.py THREADS"""
import sys

import torch

torch.manual_seed(1)
torch.set_num_threads(int(sys.argv[1]))
model = torch.nn.Sequential(
    torch.nn.Embedding(100, 64),
    torch.nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True),
    torch.nn.Linear(64, 100),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
tokens = torch.randint(0, 100, (4, 33))
for step in range(3):
    logits = model(tokens[:, :-1])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}")
