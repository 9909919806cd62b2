/// Everything that computes: about forty coarse primitives over opaque storage. A GPU backend is another implementation.
///
/// Outputs come first and are written whole unless a comment says that they are added to; those of norms, activations and
/// attention may be bf16. Sums have one fixed order that
/// depends on a row alone, so no result depends on the rows beside it nor on the number of threads. All tensors of a call
/// share one dtype, f32 or f64, unless a comment says otherwise; a wrong shape is a precondition failure.
public protocol Backend: AnyObject, Sendable {
  /// In words, for records and reports.
  var name: String { get }
  /// Largest number of bytes in use at once so far.
  var peakBytes: Int { get }
  /// Bytes that the process had to be given for them: how far it is above the peak is what fragmentation costs.
  var highWaterBytes: Int { get }
  /// The peak since the last `beginPhase`.
  var phasePeakBytes: Int { get }
  /// What the peak since the last `beginPhase` was made of, in bytes.
  var phaseParts: [MemoryPart: Int] { get }
  func beginPhase()
  /// What tensors that are made now are for.
  var part: MemoryPart { get set }
  /// False for a rehearsal: memory is accounted for as ever, no value is computed or written.
  var computes: Bool { get }
  /// Seconds of a clock that only goes forward; in a rehearsal about those that computing would have taken so far.
  var seconds: Double { get }

  // MARK: Memory

  /// A tensor with undefined contents.
  func empty(_ shape: [Int], _ dtype: DType) -> Tensor
  /// A tensor of zeros.
  func zeros(_ shape: [Int], _ dtype: DType) -> Tensor
  /// A tensor with the given bytes; `bytes.count` is the tensor's size.
  func upload(_ bytes: UnsafeRawBufferPointer, _ shape: [Int], _ dtype: DType) -> Tensor
  /// A tensor over bytes that somebody else owns and that stay unchanged while `owner` lives; a backend without host
  /// memory copies them. Never to be written to.
  func borrow(_ bytes: UnsafeRawBufferPointer, _ shape: [Int], _ dtype: DType, owner: AnyObject) -> Tensor
  /// Calls `body` with the tensor's bytes on the host. For results and files, not between primitives.
  func withHostBytes<R>(_ tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R
  func copy(_ y: Tensor, _ x: Tensor)
  func fillZero(_ y: Tensor)
  /// f32 to bf16 (to nearest even, subnormals to zero), bf16 to f32, f16 to either (exactly to f32), any of them exactly to f64, or
  /// f64 to f32 (to nearest even).
  func convert(_ y: Tensor, _ x: Tensor)

  /// The bytes of a mapped file behind `tensor` need not stay in memory; they come back when they are read.
  func forget(_ tensor: Tensor)

  // MARK: Products

  /// Panels of matrices `[n_i, k]` side by side, for products with any of them transposed (`matmul`) or not (`matmulTurned`).
  /// They may be f32, bf16 or f16 (or all f64). Of what is mapped from a file only a few MiB are in memory at a time.
  ///
  /// Codes (a format other than plain) are for bf16 products.
  func pack(_ weights: [Tensor], for precision: Precision, as format: WeightFormat) -> PackedMatrix
  /// The panels of `pack` from the matrix turned: w `[k, n]`.
  func packTurned(_ w: Tensor, for precision: Precision, as format: WeightFormat) -> PackedMatrix
  /// w `[n, k]`, f32, as products with panels of codes see it: scale times code.
  func unpack(_ w: Tensor, _ packed: PackedMatrix)
  /// y `[m, n]` (+)= x `[m, k]` wᵀ. With bf16 panels x may be bf16, or f32 which is rounded first. Products with codes are
  /// not added to anything.
  func matmul(_ y: ColumnView, _ x: ColumnView, _ packed: PackedMatrix, accumulate: Bool)
  /// dx `[m, k]` (+)= dy `[m, n]` w, from the same panels. With codes dy times their scales is rounded to bf16, so dy is best
  /// given as f32.
  func matmulTurned(_ dx: Tensor, _ dy: ColumnView, _ packed: PackedMatrix, accumulate: Bool)
  /// dw `[n, k]` += dyᵀ x for dy `[m, n]` and x `[m, k]`, rows ascending into the gradient itself. Either may be bf16.
  func matmulWeightGradient(_ dw: Tensor, _ dy: ColumnView, _ x: ColumnView, _ precision: Precision)

  // MARK: Element by element

  func add(_ y: Tensor, _ a: Tensor, _ b: Tensor)
  /// y += s x
  func addScaled(_ y: Tensor, _ x: Tensor, _ s: Double)
  /// The columns of y (f32 or bf16) become s times those of x.
  func scaleColumns(_ y: Tensor, _ x: Tensor, _ columns: Range<Int>, _ s: Double)
  func scale(_ y: Tensor, _ x: Tensor, _ s: Double)
  /// Every row of y += bias.
  func addBias(_ y: ColumnView, _ bias: Tensor)
  /// db += column sums of dy.
  func biasGradient(_ db: Tensor, _ dy: ColumnView)
  /// y `[m, n]` = silu(gate) · up of rows `[gate | up]`.
  func swiGLU(_ y: Tensor, _ gateUp: Tensor)
  func swiGLUBackward(_ d: Tensor, _ dy: Tensor, _ gateUp: Tensor)
  func gelu(_ y: Tensor, _ x: Tensor, _ form: GELUForm)
  func geluBackward(_ dx: Tensor, _ dy: Tensor, _ x: Tensor, _ form: GELUForm)

  // MARK: Rows

  /// y[r] = x[index[r]]; x may be bf16 or f16, y then is f32.
  func gather(_ y: Tensor, _ x: Tensor, _ index: [Int32])
  /// x[index[r]] = y[r]; indices are distinct.
  func scatter(_ x: Tensor, _ y: ColumnView, _ index: [Int32])
  /// x[index[r]] += y[r], r ascending.
  func scatterAdd(_ x: Tensor, _ y: Tensor, _ index: [Int32])
  func copyColumns(_ y: ColumnView, _ x: ColumnView)
  /// y `[m, n * group]`: y[r, c * group + i] = x[index[r * group + i], c], zero where the index is negative.
  func groupRows(_ y: Tensor, _ x: Tensor, _ index: [Int32], group: Int)
  /// dx of `groupRows`; an index other than a negative one stands in it once.
  func groupRowsBackward(_ dx: Tensor, _ dy: Tensor, _ index: [Int32], group: Int)
  func rmsNorm(_ y: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double)
  /// dw is added to, unless nil.
  func rmsNormBackward(_ dx: Tensor, _ dw: Tensor?, _ dy: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double)
  func layerNorm(_ y: Tensor, _ x: Tensor, _ w: Tensor, _ b: Tensor, _ epsilon: Double)
  func layerNormBackward(
    _ dx: Tensor, _ dw: Tensor?, _ db: Tensor?, _ dy: Tensor, _ x: Tensor, _ w: Tensor, _ epsilon: Double)
  /// The heads of latent attention (DeepSeek-V2, 2405.04434): q and k `[rows, heads * (plain + turned)]` and v `[rows,
  /// heads * value]` from `query` of q's shape, `keyValue` `[rows, heads * (plain + value)]` and `key` `[rows, turned]`, which all
  /// heads share. Pairs of neighbours among the turned columns are turned by the row's angles.
  func latentHeads(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ query: Tensor, _ keyValue: Tensor, _ key: ColumnView,
    _ angles: RotaryAngles, _ heads: LatentHeads)
  func latentHeadsBackward(
    _ dQuery: Tensor, _ dKeyValue: Tensor, _ dKey: ColumnView, _ dq: Tensor, _ dk: Tensor, _ dv: Tensor,
    _ angles: RotaryAngles, _ heads: LatentHeads)
  /// Every head of x over its root mean square times `norm` (unless nil), then its pairs (i, i + size/2) turned by the row's
  /// angles; backwards turns back. In place where y is x and there is no norm.
  func transformHeads(
    _ y: ColumnView, _ x: ColumnView, _ norm: Tensor?, _ epsilon: Double, _ angles: RotaryAngles, size: Int,
    backwards: Bool)
  /// Gradient of the norm inside `transformHeads`; `dy` has been turned back. dw is added to, unless nil.
  func headNormBackward(
    _ dx: ColumnView, _ dw: Tensor?, _ dy: Tensor, _ x: ColumnView, _ norm: Tensor, _ epsilon: Double)

  // MARK: Attention

  /// Rows of x, transposed, to their slots (nil: slot r for row r) of pages `[pages, kvHeads, size, 64]`.
  func toPages(_ pages: Tensor, _ x: ColumnView, _ slots: [Int32]?)
  /// output `[queries, heads * valueSize]`, q `[queries, heads * size]`; `keys` pages, `values` `[slots, kvHeads * valueSize]`;
  /// lse `[queries, heads]`, wanted for the backward pass.
  func attention(
    _ output: Tensor, _ lse: Tensor?, _ q: Tensor, _ keys: Tensor, _ values: ColumnView, _ plan: AttentionPlan,
    _ heads: AttentionHeads)
  /// For a plan over the batch's own tokens: k `[tokens, kvHeads * size]`, `keyPages` and `valuePages` as `toPages` made them.
  func attentionBackward(
    _ dq: Tensor, _ dk: Tensor, _ dv: ColumnView, _ dOutput: Tensor, _ lse: Tensor, _ q: Tensor, _ k: Tensor,
    _ keyPages: Tensor, _ valuePages: Tensor, _ plan: AttentionPlan, _ heads: AttentionHeads)

  // MARK: Language-model head

  /// streams `[6, rows]` in the order of `HeadStream` from logits `[rows, vocabulary]`; streams not in `wanted` stay undefined.
  func head(
    _ streams: Tensor, firstRow: Int, _ logits: Tensor, _ targets: ArraySlice<Int32>, _ temperature: Double,
    _ wanted: Set<HeadStream>)
  /// logits become the gradient of themselves given `dStreams` `[6, rows]`.
  func headBackward(
    _ logits: Tensor, _ dStreams: Tensor, firstRow: Int, _ targets: ArraySlice<Int32>, _ temperature: Double,
    _ wanted: Set<HeadStream>)

  /// Draws one id per row of logits from softmax(logits / temperature), by one number in [0, 1) per row: the id at which the
  /// running sum, ids ascending in f64, passes that share of the whole. The log-probabilities are those of `head`, bit for bit.
  func sample(_ logits: Tensor, _ uniforms: [Double], _ temperature: Double) -> (ids: [Int32], logprobs: [Float])
  /// The id of the largest logit of each row, the lowest among equals.
  func likeliest(_ logits: Tensor) -> [Int32]
  /// y = e^(x / temperature − largest of the row), of x's shape `[rows, vocabulary]`; for sampling.
  func exponentials(_ y: Tensor, _ x: Tensor, _ temperature: Double)

  // MARK: Experts

  /// Chooses experts for every row of scores `[tokens, experts]` by a rule, the lowest id among equals first.
  /// bias `[experts]`: added to what experts compete by, not to their weights `[tokens, choices]`.
  /// Returns their ids, ascending for every token.
  func route(_ weights: Tensor, _ scores: Tensor, bias: Tensor?, _ rule: RoutingRule) -> [Int32]
  func routeBackward(
    _ dScores: Tensor, _ dWeights: Tensor, _ weights: Tensor, _ scores: Tensor, _ chosen: [Int32], _ rule: RoutingRule)
  /// y[r] = x[plan.tokens[r]] of x's dtype, any; zero for rows of no token.
  func gatherExpertRows(_ y: Tensor, _ x: Tensor, _ plan: ExpertPlan)
  /// y[t] = Σ weights[t, j] · rows[plan.places[t, j]], j ascending; weights nil stands for ones.
  func combineExperts(_ y: Tensor, _ rows: Tensor, _ weights: Tensor?, _ plan: ExpertPlan)
  /// dRows and dWeights of `combineExperts`; zero for rows of no token.
  func combineExpertsBackward(
    _ dRows: Tensor, _ dWeights: Tensor, _ dy: Tensor, _ rows: Tensor, _ weights: Tensor, _ plan: ExpertPlan)
  /// For every expert e its rows of y `[rows, n]` = those of x `[rows, k]` times wᵀ of panels e, all as one job; panels nil
  /// only for experts without rows. The bits are those of `matmul`.
  func matmulExperts(_ y: Tensor, _ x: Tensor, _ packed: [PackedMatrix?], _ plan: ExpertPlan)
  /// For every expert e its rows of dx `[rows, k]` = those of dy `[rows, n]` times w of panels e.
  func matmulExpertsTurned(_ dx: Tensor, _ dy: Tensor, _ packed: [PackedMatrix?], _ plan: ExpertPlan)

  // MARK: Adapters

  /// y = x with column c times w[c]; y may be x.
  func scaleByColumn(_ y: ColumnView, _ x: ColumnView, _ w: Tensor)
  /// y = a / b
  func divide(_ y: Tensor, _ a: Tensor, _ b: Tensor)
  /// dw[c] += Σ dy[t, c] / d[c] · v[t, c], t ascending into the gradient itself.
  func columnProducts(_ dw: Tensor, _ dy: ColumnView, _ v: ColumnView, _ d: Tensor)
  /// y[r] = root of the sum of squares of row r.
  func rowNorms(_ y: Tensor, _ x: Tensor)
  /// y = x where the mask keeps it, else 0; any dtype, bits as they are.
  func dropout(_ y: Tensor, _ x: Tensor, _ mask: DropoutMask)

  // MARK: Optimizer

  /// Sum of squares in f64, in one fixed order.
  func sumOfSquares(_ x: Tensor) -> Double
  /// One AdamW step on a parameter and its moments; see `AdamW`.
  func adamW(_ p: Tensor, _ m: Tensor, _ v: Tensor, _ g: Tensor, _ step: AdamWStep)
  /// The same with moments in 8 bits, which are taken out of their codes, moved and put back block by block.
  func adamWQuantized(_ p: Tensor, _ moments: QuantizedMoments, _ g: Tensor, _ step: AdamWStep)
  /// One step of gradient descent; m is the momentum buffer, nil without momentum.
  func sgd(_ p: Tensor, _ m: Tensor?, _ g: Tensor, _ step: SGDStep)
  /// Rows of x `[rows, n]` by modified Gram-Schmidt, twice: each of length 1 and orthogonal to those above it. A row of
  /// which no more is left than 2^-16 of the longest row becomes zero: the rows above span it, up to rounding.
  func orthonormalizeRows(_ x: Tensor)
}

/// What products are computed in. Sums are always f32 (f64 for f64 operands).
public enum Precision: String, Sendable {
  /// Operands as they are, fused multiply-add.
  case full
  /// Operands rounded to bf16.
  case bf16
}

/// How frozen weights are held in memory for bf16 products.
///
/// A scale multiplies a whole sum of products of bf16 activations with integer codes; `atk_table_codes` has the definition,
/// which gives the same bits for any number of rows, on any number of threads and on every instruction set.
public enum WeightFormat: String, Sendable, CaseIterable {
  /// As the products' precision has it.
  case plain
  /// Codes of 8 bits, symmetric, one f32 scale for each output.
  case int8
  /// Codes of 4 bits, one f32 scale for each output and 128 inputs.
  case int4

  /// Bits of a code; nil for plain weights.
  var bits: Int32? {
    switch self {
    case .plain: nil
    case .int8: 8
    case .int4: 4
    }
  }
}

/// One or several matrices side by side in the layout that products read: panels of 16 outputs.
public struct PackedMatrix: Sendable {
  public let storage: Storage
  /// Inputs: the summed length of `matmul`.
  public let k: Int
  /// Outputs, of all matrices together.
  public let n: Int
  public let dtype: DType
  public let precision: Precision
  public let format: WeightFormat
}

/// The two forms of GELU: the exact one by the error function, and the approximation by tanh.
public enum GELUForm: Sendable { case exact, tanh }

/// How the columns of q, k and v divide into heads, and what a query sees.
public struct AttentionHeads: Sendable, Equatable {
  public let heads: Int
  public let kvHeads: Int
  /// Of a query and a key.
  public let size: Int
  public let valueSize: Int
  /// Multiplies the scores; usually size to the power of -1/2.
  public let scale: Double
  /// Keys that a query sees at most, its own and those before it; nil for all on its path. For causal plans.
  public let window: Int?

  /// - Parameter valueSize: that of a query unless given.
  public init(heads: Int, kvHeads: Int, size: Int, valueSize: Int? = nil, scale: Double, window: Int? = nil) {
    precondition(heads % kvHeads == 0, "\(heads) query heads do not divide among \(kvHeads) key/value heads")
    precondition(window.map { $0 > 0 } ?? true, "a window of \(window ?? 0) keys")
    self.heads = heads
    self.kvHeads = kvHeads
    self.size = size
    self.valueSize = valueSize ?? size
    self.scale = scale
    self.window = window
  }
}

/// Sizes of latent attention's heads, every one with a key and a value of its own.
public struct LatentHeads: Sendable, Equatable {
  public let heads: Int
  /// Columns of a query and a key that no angle turns.
  public let plain: Int
  /// Columns that rotary angles turn, which all heads' keys have in common.
  public let turned: Int
  /// Columns of a value.
  public let value: Int
  public let scale: Double

  public init(heads: Int, plain: Int, turned: Int, value: Int, scale: Double) {
    precondition(turned % 2 == 0, "\(turned) columns are no pairs")
    self.heads = heads
    self.plain = plain
    self.turned = turned
    self.value = value
    self.scale = scale
  }

  /// As attention sees them once they are gathered.
  public var attention: AttentionHeads {
    AttentionHeads(heads: heads, kvHeads: heads, size: plain + turned, valueSize: value, scale: scale)
  }
}

/// How a router turns scores into a choice of experts and their weights.
public struct RoutingRule: Sendable, Equatable {
  /// What weights are: softmax over all experts, or each score's sigmoid.
  public enum Gate: Sendable { case softmax, sigmoid }

  /// Experts of a token.
  public var choices: Int
  public var gate: Gate
  /// Weights are divided by the sum of the chosen.
  public var normalized: Bool
  /// Multiplies the weights.
  public var scale: Double
  /// Experts stand in so many groups of equal size, of which only the best take part.
  public var groups: Int
  public var keptGroups: Int
  /// A group is as good as its best expert (1), or as the sum of its two best (2).
  public var groupBest: Int

  public init(
    choices: Int, gate: Gate = .softmax, normalized: Bool, scale: Double = 1, groups: Int = 1, keptGroups: Int = 1,
    groupBest: Int = 1
  ) {
    self.choices = choices
    self.gate = gate
    self.normalized = normalized
    self.scale = scale
    self.groups = groups
    self.keptGroups = keptGroups
    self.groupBest = groupBest
  }
}

/// Per-token results of the fused head, in nats at the given temperature.
public enum HeadStream: Int, Sendable, CaseIterable {
  /// Log-probability of the target.
  case logprob = 0
  /// −Σ p log p.
  case entropy
  /// Log-sum-exp of the scaled logits.
  case logSumExp
  /// Mean scaled logit over the vocabulary.
  case meanLogit
  /// log Σ p².
  case logSumSquares
  /// 1 where the target is the likeliest id, the lowest among equals.
  case top1
}

extension Backend {
  /// Calls `body`; the tensors that it makes are for `part`, unless they are labelled inside.
  public func making<R>(_ part: MemoryPart, _ body: () throws -> R) rethrows -> R {
    let before = self.part
    self.part = part
    defer { self.part = before }
    return try body()
  }
  /// What the parameters of a model that is made now are for: the policy's weights unless it was said otherwise.
  public var modelPart: MemoryPart { part == .activations ? .weights : part }
  /// Panels of plain weights.
  public func pack(_ weights: [Tensor], for precision: Precision) -> PackedMatrix {
    pack(weights, for: precision, as: .plain)
  }
  /// `x` as products of a precision read it: rounded to bf16 once, where several of them will.
  public func operand(_ x: Tensor, for precision: Precision) -> Tensor {
    guard precision == .bf16, x.dtype == .f32, x.width % 2 == 0 else { return x }
    let narrow = empty(x.shape, .bf16)
    convert(narrow, x)
    return narrow
  }
  public func upload(_ values: [Float], _ shape: [Int]) -> Tensor {
    values.withUnsafeBytes { upload($0, shape, .f32) }
  }
  public func upload(_ values: [Double], _ shape: [Int]) -> Tensor {
    values.withUnsafeBytes { upload($0, shape, .f64) }
  }
  /// `values` as f32 or f64.
  public func upload(_ values: [Double], _ shape: [Int], as dtype: DType) -> Tensor {
    dtype == .f64 ? upload(values, shape) : upload(values.map(Float.init), shape)
  }
  /// A copy of a matrix `[rows, columns]` as `[columns, rows]`. For loading and saving, not between products.
  public func turned(_ x: Tensor) -> Tensor {
    guard computes else { return empty([x.width, x.rows], x.dtype) }
    func turn<T>(_ type: T.Type, zero: T) -> Tensor {
      let (rows, columns) = (x.rows, x.width)
      var y = [T](repeating: zero, count: rows * columns)
      withHostBytes(x) { bytes in
        let from = bytes.bindMemory(to: T.self)
        // Blocks that stay in cache while they are turned.
        for block in stride(from: 0, to: columns, by: 32) {
          for row in 0..<rows {
            for column in block..<min(block + 32, columns) { y[column * rows + row] = from[row * columns + column] }
          }
        }
      }
      return y.withUnsafeBytes { upload($0, [columns, rows], x.dtype) }
    }
    switch x.dtype.size {
    case 8: return turn(UInt64.self, zero: 0)
    case 4: return turn(UInt32.self, zero: 0)
    case 2: return turn(UInt16.self, zero: 0)
    default: return turn(UInt8.self, zero: 0)
    }
  }
  /// The values of an f32 tensor, or of a bf16 or f16 one, widened.
  public func floats(_ tensor: Tensor) -> [Float] {
    if tensor.dtype == .bf16 || tensor.dtype == .f16 {
      let wide = empty(tensor.shape, .f32)
      convert(wide, tensor)
      return floats(wide)
    }
    precondition(tensor.dtype == .f32, "\(tensor.dtype) is not f32")
    return withHostBytes(tensor) { Array($0.bindMemory(to: Float.self)) }
  }
  public func doubles(_ tensor: Tensor) -> [Double] {
    if tensor.dtype == .f64 { return withHostBytes(tensor) { Array($0.bindMemory(to: Double.self)) } }
    return floats(tensor).map(Double.init)
  }
}
