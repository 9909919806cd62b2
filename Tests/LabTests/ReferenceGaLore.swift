import Core

@testable import Lab

/// A matrix of doubles for references: products as they are defined.
struct Matrix {
  let rows: Int
  let columns: Int
  var elements: [Double]

  init(_ rows: Int, _ columns: Int, _ elements: [Double]) {
    precondition(elements.count >= rows * columns)
    self.rows = rows
    self.columns = columns
    self.elements = Array(elements.prefix(rows * columns))
  }

  subscript(row: Int, column: Int) -> Double { elements[row * columns + column] }

  var transposed: Matrix {
    Matrix(columns, rows, (0..<rows * columns).map { self[$0 % rows, $0 / rows] })
  }

  func times(_ other: Matrix) -> Matrix {
    Matrix(
      rows, other.columns,
      (0..<rows * other.columns).map { i in
        (0..<columns).reduce(0) { $0 + self[i / other.columns, $1] * other[$1, i % other.columns] }
      })
  }

  /// Rows by Gram-Schmidt; all are taken to be independent.
  var orthonormalRows: Matrix {
    var done: [[Double]] = []
    for r in 0..<rows {
      var row = Array(elements[r * columns..<(r + 1) * columns])
      for _ in 0..<2 {
        for other in done {
          let share = zip(other, row).reduce(0) { $0 + $1.0 * $1.1 }
          for i in row.indices { row[i] -= share * other[i] }
        }
      }
      let size = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      done.append(row.map { $0 / size })
    }
    return Matrix(rows, columns, done.flatMap { $0 })
  }
}

/// GaLore (2403.03507) of one matrix, written down plainly.
struct ReferenceGaLore {
  private(set) var value: Matrix
  private let start: Matrix
  private let settings: OptimizerMethod.GaLore
  private let randomness: Randomness
  private let name: String
  private var basis = Matrix(0, 0, [])
  private var first: [Double] = []
  private var second: [Double] = []
  private var step = 0

  init(_ settings: OptimizerMethod.GaLore, seed: UInt64, name: String, _ value: Matrix) {
    self.settings = settings
    self.value = value
    self.name = name
    start = value
    randomness = Randomness(seed: seed, for: .projection)
  }

  mutating func restart() {
    value = start
    step = 0
    first = []
    second = []
  }

  mutating func update(_ gradient: Matrix, learningRate: Double, weightDecay: Double) {
    // The shorter side first.
    let isTall = gradient.rows > gradient.columns
    let g = isTall ? gradient.transposed : gradient
    if step % settings.gap == 0 {
      var random = randomness.stream(named: name, step / settings.gap)
      basis = Matrix(settings.rank, g.rows, (0..<settings.rank * g.rows).map { _ in random.normal() })
      for _ in 0..<3 {
        basis = basis.times(g).orthonormalRows.times(g.transposed).orthonormalRows
      }
    }
    step += 1
    let projected = basis.times(g)
    if first.isEmpty {
      first = projected.elements.map { _ in 0 }
      second = first
    }
    var inside = projected
    let (rest1, rest2) = (1 - integerPower(0.9, step), 1 - integerPower(0.999, step))
    for i in first.indices {
      let x = projected.elements[i]
      first[i] = 0.9 * first[i] + 0.1 * x
      second[i] = 0.999 * second[i] + 0.001 * x * x
      inside.elements[i] = (first[i] / rest1) / ((second[i] / rest2).squareRoot() + 1e-8)
    }
    let back = basis.transposed.times(inside)
    let move = isTall ? back.transposed : back
    for i in value.elements.indices {
      value.elements[i] *= 1 - learningRate * weightDecay
      value.elements[i] -= learningRate * settings.scale * move.elements[i]
    }
  }

  private func integerPower(_ x: Double, _ n: Int) -> Double { (0..<n).reduce(1) { y, _ in y * x } }
}
