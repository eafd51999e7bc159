//! Two transformer layers in candle with random weights. `memloupe-candle` runs them a few times and prints a sum of each
//! result; `memloupe-candle train` trains them with AdamW and prints the loss of each step.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer};

const LAYERS: usize = 2;
const TOKENS: usize = 48;
const WIDTH: usize = 128;
const HEADS: usize = 4;
const STEPS: usize = 3;

/// Numbers that look random and are the same everywhere (a multiplicative congruential generator).
struct Numbers(u64);

impl Numbers {
    fn tensor(&mut self, rows: usize, columns: usize) -> Result<Tensor> {
        let scale = (rows as f32).sqrt().recip();
        let values: Vec<f32> = (0..rows * columns)
            .map(|_| {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
            })
            .collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu)
    }
}

struct Layer {
    projections: [Tensor; 4],
    up: Tensor,
    down: Tensor,
}

impl Layer {
    fn new(numbers: &mut Numbers) -> Result<Self> {
        let mut square = || numbers.tensor(WIDTH, WIDTH);
        Ok(Self {
            projections: [square()?, square()?, square()?, square()?],
            up: numbers.tensor(WIDTH, 4 * WIDTH)?,
            down: numbers.tensor(4 * WIDTH, WIDTH)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let [query, key, value, output] = &self.projections;
        let split = |weights: &Tensor| {
            x.matmul(weights)?
                .reshape((TOKENS, HEADS, WIDTH / HEADS))?
                .transpose(0, 1)?
                .contiguous()
        };
        let scores = split(query)?.matmul(&split(key)?.t()?)? * ((WIDTH / HEADS) as f64).powf(-0.5);
        let mixed = candle_nn::ops::softmax(&scores?, D::Minus1)?.matmul(&split(value)?)?;
        let x = (x + mixed.transpose(0, 1)?.reshape((TOKENS, WIDTH))?.matmul(output)?)?;
        &x + x.matmul(&self.up)?.gelu_erf()?.matmul(&self.down)?
    }

    /// Its weights as what an optimizer can change.
    fn variables(&mut self) -> Result<Vec<Var>> {
        let Self {
            projections,
            up,
            down,
        } = self;
        let weights = projections.iter_mut().chain([up, down]);
        weights
            .map(|weight| {
                let variable = Var::from_tensor(weight)?;
                *weight = variable.as_tensor().clone();
                Ok(variable)
            })
            .collect()
    }
}

fn forward(layers: &[Layer], input: &Tensor) -> Result<Tensor> {
    layers
        .iter()
        .try_fold(input.clone(), |x, layer| layer.forward(&x))
}

fn infer(layers: &[Layer], numbers: &mut Numbers) -> Result<()> {
    for _ in 0..STEPS {
        let x = forward(layers, &numbers.tensor(TOKENS, WIDTH)?)?;
        let sum = x.abs()?.to_dtype(DType::F64)?.sum_all()?;
        println!("{:?} {:.4}", x.dims(), sum.to_scalar::<f64>()?);
    }
    Ok(())
}

/// Towards outputs that are the inputs of the last token.
fn train(mut layers: Vec<Layer>, numbers: &mut Numbers) -> Result<()> {
    let mut variables = Vec::new();
    for layer in &mut layers {
        variables.extend(layer.variables()?);
    }
    let mut optimizer = AdamW::new_lr(variables, 1e-3)?;
    let input = numbers.tensor(TOKENS, WIDTH)?;
    let target = input
        .narrow(0, TOKENS - 1, 1)?
        .broadcast_as((TOKENS, WIDTH))?
        .contiguous()?;
    for _ in 0..STEPS {
        let loss = candle_nn::loss::mse(&forward(&layers, &input)?, &target)?;
        let gradients = loss.backward()?;
        optimizer.step(&gradients)?;
        println!("{:.6}", loss.to_scalar::<f32>()?);
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut numbers = Numbers(1);
    let layers = (0..LAYERS)
        .map(|_| Layer::new(&mut numbers))
        .collect::<Result<Vec<_>>>()?;
    match std::env::args().nth(1).as_deref() {
        Some("train") => train(layers, &mut numbers),
        _ => infer(&layers, &mut numbers),
    }
}
