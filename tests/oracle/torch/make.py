import torch
from torch import nn

base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
state = {
    "contiguous": base, "rows": base[1:3], "transposed": base.t(), "strided": base[::2, 1::2],
    "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 3),
    "f16": torch.tensor([1.5, -2.0, 65504.0, 6e-8]).half(), "bf16": torch.tensor([1.5, -2.0, 3e38]).bfloat16(),
    "f64": torch.tensor([1e300], dtype=torch.float64), "i64": torch.arange(4)[None],
    "i32": torch.tensor([-1], dtype=torch.int32), "i16": torch.tensor([-2], dtype=torch.int16),
    "i8": torch.tensor([-3], dtype=torch.int8), "u8": torch.tensor([200], dtype=torch.uint8),
    "bool": torch.tensor([True, False]), "scalar": torch.tensor(0.5), "empty": torch.zeros(0, 3),
    "parameter": nn.Parameter(torch.tensor([7.0, 8.0])), "__proto__": torch.tensor([9.0]),
}
torch.save({"epoch": 7, "name": "é", "best": None, "done": True, "size": base.shape, "dtype": torch.float16,
            "Blip2Qformer": state}, "torch_save.pth")
torch.save({"w": torch.tensor([1.0, 2.0])}, "protocol_4.pth", pickle_protocol=4)
torch.save({"w": torch.tensor([1.0, 2.0])}, "legacy.pth", _use_new_zipfile_serialization=False)


class Block(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([value, 2 * value]))

    def forward(self, x):
        return x * self.w


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Block(1.0), Block(3.0)])
        self.register_buffer("half_values", torch.tensor([1.0, 2.0]).half())
        self.sizes, self.tag = [1, 2, 3], "x"

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


model = Model()
torch.jit.save(torch.jit.script(model), "torchscript.pt")
optimizer = torch.optim.AdamW(model.parameters())
model(torch.ones(2)).sum().backward()
optimizer.step()
torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "iteration": 5}, "training.pth")
