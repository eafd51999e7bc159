"""Models of published shapes with random weights, and small ones of the same kinds for tests."""

import torch
from torch import nn


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        split = (batch, tokens, self.heads, width // self.heads)
        query, key, value = (part.view(split).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        scores = query @ key.transpose(2, 3) / (width // self.heads) ** 0.5
        future = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(future, float("-inf")).softmax(3) @ value
        return self.project(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    """A pre-norm transformer block as in GPT-2."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class GPT(nn.Module):
    """A decoder-only transformer."""

    def __init__(self, vocabulary, context, width, layers, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Residual(nn.Module):
    """Two convolutions around a shortcut, as in ResNet-18."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv_1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv_2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm_1, self.norm_2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x):
        y = self.norm_1(self.conv_1(x)).relu()
        return (self.norm_2(self.conv_2(y)) + self.shortcut(x)).relu()


class ResNet(nn.Module):
    """A convolutional network of residual blocks, `depth` of them for each width."""

    def __init__(self, widths, depth, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        blocks, before = [], widths[0]
        for stage, width in enumerate(widths):
            for index in range(depth):
                blocks.append(Residual(before, width, 2 if stage and not index else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(before, classes)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


# Model and size: its shape, and that of a batch.
SIZES = {
    ("gpt", "smoke"): (dict(vocabulary=256, context=32, width=128, layers=2, heads=4), (4, 32)),
    ("gpt", "gpt2-small"): (dict(vocabulary=50257, context=1024, width=768, layers=12, heads=12), (4, 128)),
    ("cnn", "smoke"): (dict(widths=(16, 32), depth=1, classes=10), (4, 3, 16, 16)),
    ("cnn", "resnet-18"): (dict(widths=(64, 128, 256, 512), depth=2, classes=1000), (4, 3, 56, 56)),
}


def make(model, size, seed):
    """A model and a function that draws a batch: what goes in, and what should come out."""
    torch.manual_seed(seed)
    shape, batch = SIZES[model, size]
    if model == "gpt":

        def draw():
            tokens = torch.randint(0, shape["vocabulary"], batch)
            return tokens, tokens.roll(-1, 1).flatten()

        return GPT(**shape), draw

    def draw():
        return torch.randn(batch), torch.randint(0, shape["classes"], batch[:1])

    return ResNet(**shape), draw
