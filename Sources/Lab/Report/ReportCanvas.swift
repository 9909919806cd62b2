import CCairo
import Core

/// A sheet that a report's pictures are drawn on: sizes in points, two pixels a point, PNG out.
///
/// Hinting is off and the font is checked, so the same drawing gives the same bytes whatever the desktop's settings.
final class ReportCanvas {
  enum Weight { case regular, bold }
  enum Alignment { case left, center, right }

  struct Box {
    var x: Double
    var y: Double
    var width: Double
    var height: Double
  }

  static let pixelsPerPoint = 2.0
  static let fontFamily = "DejaVu Sans"
  /// cairo's image surfaces end here.
  private static let largestSide = 32_767.0

  let width: Double
  let height: Double
  private let surface: OpaquePointer
  private let context: OpaquePointer

  /// - Throws: `AttuneError` if there is no memory for the sheet or the font is missing.
  init(width: Double, height: Double, paper: ReportColor) throws {
    let pixels = (w: (width * Self.pixelsPerPoint).rounded(.up), h: (height * Self.pixelsPerPoint).rounded(.up))
    guard pixels.w >= 1, pixels.h >= 1, pixels.w <= Self.largestSide, pixels.h <= Self.largestSide else {
      throw AttuneError.work(
        "a picture of \(pixels.w) x \(pixels.h) pixels cannot be drawn, expected 1 to 32767 a side")
    }
    let surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, Int32(pixels.w), Int32(pixels.h))
    let context = cairo_create(surface)
    guard let surface, let context, cairo_status(context) == CAIRO_STATUS_SUCCESS else {
      let reason = context.map { String(cString: cairo_status_to_string(cairo_status($0))) } ?? "no surface"
      cairo_destroy(context)
      cairo_surface_destroy(surface)
      throw AttuneError.work("a picture of \(Int(pixels.w)) x \(Int(pixels.h)) pixels cannot be drawn: \(reason)")
    }
    self.width = width
    self.height = height
    self.surface = surface
    self.context = context
    let options = cairo_font_options_create()
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE)
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF)
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY)
    cairo_set_font_options(context, options)
    cairo_font_options_destroy(options)
    try checkFont()
    cairo_scale(context, Self.pixelsPerPoint, Self.pixelsPerPoint)
    cairo_set_line_cap(context, CAIRO_LINE_CAP_ROUND)
    cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND)
    fill(Box(x: 0, y: 0, width: width, height: height), paper)
  }

  deinit {
    cairo_destroy(context)
    cairo_surface_destroy(surface)
  }

  /// cairo falls back to any font silently; the width of DejaVu Sans's M (1767 of 2048 units) gives a stand-in away.
  private func checkFont() throws {
    let advance = textWidth("M", size: 2048)
    guard abs(advance - 1767) < 1 else {
      throw AttuneError.work(
        "the font '\(Self.fontFamily)' is not installed, expected for the report's pictures",
        hint: "install it: apt install fonts-dejavu-core (Debian, Ubuntu), brew install --cask font-dejavu (macOS)")
    }
  }

  // MARK: Shapes

  func fill(_ box: Box, _ color: ReportColor, radius: Double = 0) {
    path(box, radius: radius)
    use(color)
    cairo_fill(context)
  }

  func outline(_ box: Box, _ color: ReportColor, radius: Double = 0, lineWidth: Double = 1) {
    path(box, radius: radius)
    use(color)
    cairo_set_line_width(context, lineWidth)
    cairo_stroke(context)
  }

  func disc(x: Double, y: Double, radius: Double, _ color: ReportColor) {
    cairo_new_sub_path(context)
    cairo_arc(context, x, y, radius, 0, 2 * Double.pi)
    use(color)
    cairo_fill(context)
  }

  /// An open line through `points`.
  func line(
    _ points: [(x: Double, y: Double)], _ color: ReportColor, width: Double, dash: [Double] = []
  ) {
    guard let first = points.first else { return }
    cairo_new_path(context)
    cairo_move_to(context, first.x, first.y)
    for point in points.dropFirst() { cairo_line_to(context, point.x, point.y) }
    use(color)
    cairo_set_line_width(context, width)
    cairo_set_dash(context, dash, Int32(dash.count), 0)
    cairo_stroke(context)
    cairo_set_dash(context, nil, 0, 0)
  }

  /// A closed, filled shape.
  func shape(_ points: [(x: Double, y: Double)], _ color: ReportColor) {
    guard let first = points.first else { return }
    cairo_new_path(context)
    cairo_move_to(context, first.x, first.y)
    for point in points.dropFirst() { cairo_line_to(context, point.x, point.y) }
    cairo_close_path(context)
    use(color)
    cairo_fill(context)
  }

  /// Draws with everything outside `box` cut away.
  func clipped(to box: Box, _ draw: () -> Void) {
    cairo_save(context)
    cairo_rectangle(context, box.x, box.y, box.width, box.height)
    cairo_clip(context)
    draw()
    cairo_restore(context)
  }

  // MARK: Text

  /// One line of text whose baseline is at `y`; `upright` turns it to read from bottom to top.
  func text(
    _ text: String, x: Double, y: Double, size: Double, _ color: ReportColor, weight: Weight = .regular,
    alignment: Alignment = .left, upright: Bool = false
  ) {
    let text = printable(text)
    let width = textWidth(text, size: size, weight: weight)
    let offset =
      switch alignment {
      case .left: 0.0
      case .center: -width / 2
      case .right: -width
      }
    use(color)
    cairo_save(context)
    cairo_move_to(context, x, y)
    if upright { cairo_rotate(context, -Double.pi / 2) }
    cairo_rel_move_to(context, offset, 0)
    cairo_show_text(context, text)
    cairo_restore(context)
    cairo_new_path(context)
  }

  func textWidth(_ text: String, size: Double, weight: Weight = .regular) -> Double {
    cairo_select_font_face(
      context, Self.fontFamily, CAIRO_FONT_SLANT_NORMAL,
      weight == .bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL)
    cairo_set_font_size(context, size)
    var extents = cairo_text_extents_t()
    cairo_text_extents(context, printable(text), &extents)
    return extents.x_advance
  }

  /// `text`, cut and ended with … if it is wider than `width`.
  func fitted(_ text: String, into width: Double, size: Double, weight: Weight = .regular) -> String {
    // No glyph of the font is narrower than a twentieth of its size, so what lies beyond is not looked at.
    let text = printable(String(text.prefix(Int(max(width, 0) / size * 20) + 1)))
    if textWidth(text, size: size, weight: weight) <= width { return text }
    let characters = Array(text)
    var low = 0
    var high = characters.count
    while low < high {
      let middle = (low + high + 1) / 2
      let candidate = String(characters[..<middle]) + "…"
      if textWidth(candidate, size: size, weight: weight) <= width { low = middle } else { high = middle - 1 }
    }
    return String(characters[..<low]) + "…"
  }

  /// Line ends and control characters as spaces: a line of text stays one line.
  private func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else { return text }
    return String(
      String.UnicodeScalarView(
        text.unicodeScalars.map {
          $0.properties.generalCategory == .control ? " " : $0
        }))
  }

  // MARK: Pictures

  /// A picture scaled into `box`: square pixels kept sharp when enlarged, averaged when reduced.
  func picture(_ picture: Picture, in box: Box) throws {
    let image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, Int32(picture.width), Int32(picture.height))
    defer { cairo_surface_destroy(image) }
    guard let image, let data = cairo_image_surface_get_data(image) else {
      throw AttuneError.work("a picture of \(picture.width) x \(picture.height) pixels is too large to draw")
    }
    let stride = Int(cairo_image_surface_get_stride(image))
    cairo_surface_flush(image)
    picture.pixels.withUnsafeBufferPointer { pixels in
      for y in 0..<picture.height {
        let row = UnsafeMutableRawPointer(data + y * stride).assumingMemoryBound(to: UInt32.self)
        for x in 0..<picture.width {
          let i = 3 * (y * picture.width + x)
          row[x] = UInt32(pixels[i]) << 16 | UInt32(pixels[i + 1]) << 8 | UInt32(pixels[i + 2])
        }
      }
    }
    cairo_surface_mark_dirty(image)
    cairo_save(context)
    cairo_translate(context, box.x, box.y)
    cairo_scale(context, box.width / Double(picture.width), box.height / Double(picture.height))
    cairo_set_source_surface(context, image, 0, 0)
    let enlarged = box.width * Self.pixelsPerPoint >= Double(picture.width)
    cairo_pattern_set_filter(cairo_get_source(context), enlarged ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD)
    cairo_rectangle(context, 0, 0, Double(picture.width), Double(picture.height))
    cairo_fill(context)
    cairo_restore(context)
  }

  /// The sheet as a PNG file.
  func png() throws -> [UInt8] {
    final class Sink { var bytes: [UInt8] = [] }
    let sink = Sink()
    cairo_surface_flush(surface)
    let status = withExtendedLifetime(sink) {
      cairo_surface_write_to_png_stream(
        surface,
        { closure, data, count in
          guard let closure, let data else { return CAIRO_STATUS_WRITE_ERROR }
          let sink = Unmanaged<Sink>.fromOpaque(closure).takeUnretainedValue()
          sink.bytes.append(contentsOf: UnsafeBufferPointer(start: data, count: Int(count)))
          return CAIRO_STATUS_SUCCESS
        }, Unmanaged.passUnretained(sink).toOpaque())
    }
    guard status == CAIRO_STATUS_SUCCESS, cairo_status(context) == CAIRO_STATUS_SUCCESS else {
      let failed = status == CAIRO_STATUS_SUCCESS ? cairo_status(context) : status
      throw AttuneError.work("a picture cannot be written as PNG: \(String(cString: cairo_status_to_string(failed)))")
    }
    return sink.bytes
  }

  // MARK: Parts

  private func use(_ color: ReportColor) {
    cairo_set_source_rgba(context, color.red, color.green, color.blue, color.alpha)
  }

  private func path(_ box: Box, radius: Double) {
    cairo_new_path(context)
    guard radius > 0 else {
      cairo_rectangle(context, box.x, box.y, box.width, box.height)
      return
    }
    let quarter = Double.pi / 2
    let (left, right) = (box.x + radius, box.x + box.width - radius)
    let (top, bottom) = (box.y + radius, box.y + box.height - radius)
    cairo_new_sub_path(context)
    cairo_arc(context, right, top, radius, -quarter, 0)
    cairo_arc(context, right, bottom, radius, 0, quarter)
    cairo_arc(context, left, bottom, radius, quarter, 2 * quarter)
    cairo_arc(context, left, top, radius, 2 * quarter, 3 * quarter)
    cairo_close_path(context)
  }
}
