#include "schedule/pipeline_drawing.h"

#include <gtest/gtest.h>

namespace conclave {
namespace {

PipelinePlan plan_of(const PipelineShape& shape) {
  return plan_pipeline({.shape = shape, .span = whole_span(shape.pipeline_size, shape.virtual_size)});
}

TEST(PipelineDrawing, OneForwardOneBackward) {
  EXPECT_EQ(draw_text(plan_of({3, 1, 4})), R"draw(3 ranks, 4 micro-batches forward and backward
18 units of time (a forward takes 1, a backward 2); ranks wait 33.3 % of it

        0              5              10             15
rank 0  F0 F1 F2 .  .  .  .  B0--- F3 B1--- .  B2--- .  B3---
rank 1  .  F0 F1 .  .  B0--- F2 B1--- F3 B2--- .  B3--- .  .
rank 2  .  .  F0 B0--- F1 B1--- F2 B2--- F3 B3--- .  .  .  .

lists (a activation, g gradient, < receive, > send; brackets: posted together)
rank 0, at most 3 forwards held: F0 >a0 F1 >a1 F2 (>a2 <g0) B0 F3 (>a3 <g1) B1 <g2 B2 <g3 B3 finalize clip buffers update
rank 1, at most 2 forwards held: <a0 F0 (>a0 <a1) F1 (>a1 <a2 <g0) B0 >g0 F2 (>a2 <g1) B1 (>g1 <a3) F3 (>a3 <g2) B2 (>g2 <g3) B3 >g3 finalize clip buffers update
rank 2, at most 1 forwards held: <a0 F0 <a1 B0 >g0 F1 B1 (>g1 <a2) F2 B2 (>g2 <a3) F3 B3 >g3 finalize clip buffers update
)draw");
}

TEST(PipelineDrawing, Interleaved) {
  EXPECT_EQ(draw_text(plan_of({2, 2, 2}), 60),
            R"draw(2 ranks, 2 micro-batches forward and backward, 2 chunks on each rank, groups of 2
15 units of time (a forward takes 1, a backward 2); ranks wait 20.0 % of it

        0                        5
rank 0  F0.0 F1.0 F0.1 F1.1 .    .    B0.1----- .    B1.1-
rank 1  .    F0.0 F1.0 F0.1 B0.1----- F1.1 B1.1----- B0.0-

        10
rank 0  ---- B0.0----- B1.0-----
rank 1  ---- B1.0----- .    .

lists (a activation, g gradient, < receive, > send; brackets: posted together)
rank 0, at most 4 forwards held: F0.0 >a0.0 F1.0 (>a1.0 <a0.1) F0.1 (>a0.1 <a1.1) F1.1 (>a1.1 <g0.1) B0.1 (>g0.1 <g1.1) B1.1 (>g1.1 <g0.0) B0.0 <g1.0 B1.0 finalize clip buffers update
rank 1, at most 3 forwards held: <a0.0 F0.0 (>a0.0 <a1.0) F1.0 (>a1.0 <a0.1) F0.1 <a1.1 B0.1 >g0.1 F1.1 B1.1 (>g1.1 <g0.0) B0.0 (>g0.0 <g1.0) B1.0 >g1.0 finalize clip buffers update
)draw");
}

TEST(PipelineDrawing, MergedAndForwardOnly) {
  EXPECT_EQ(draw_text(plan_of({1, 1, 3, 0, true})), R"draw(1 rank, 3 micro-batches forward and backward
9 units of time (a forward takes 1, a backward 2); ranks wait 0.0 % of it

        0              5
rank 0  F0 F1B0---- F2B1---- B2---

lists (a activation, g gradient, < receive, > send; brackets: posted together)
rank 0, at most 2 forwards held: F0 FB1/0 FB2/1 B2 finalize clip buffers update
)draw");
  EXPECT_EQ(draw_text(plan_of({2, 1, 2, 0, false, PipelineWork::kForwardOnly})), R"draw(2 ranks, 2 micro-batches forward
3 units of time (a forward takes 1, a backward 2); ranks wait 33.3 % of it

        0
rank 0  F0 F1 .
rank 1  .  F0 F1

lists (a activation, g gradient, < receive, > send; brackets: posted together)
rank 0, at most 2 forwards held: F0 >a0 F1 >a1
rank 1, at most 2 forwards held: <a0 F0 <a1 F1
)draw");
}

TEST(PipelineDrawing, Svg) {
  EXPECT_EQ(
      draw_svg(plan_of({2, 1, 1})),
      R"draw(<svg xmlns="http://www.w3.org/2000/svg" width="624" height="132" viewBox="0 0 624 132" font-family="sans-serif" font-size="11">
<title>2 ranks, 1 micro-batch forward and backward</title>
<rect width="624" height="132" fill="white"/>
<text x="8" y="18" font-size="13">2 ranks, 1 micro-batch forward and backward</text>
<text x="8" y="36">6 units of time (a forward takes 1, a backward 2); ranks wait 50.0 % of it</text>
<text x="8" y="73">rank 0</text>
<rect x="64" y="56" width="33" height="26" fill="hsl(210,60%,82%)"/><text x="80.5" y="73" text-anchor="middle">F0</text>
<rect x="200" y="56" width="67" height="26" fill="hsl(140,60%,82%)"/><text x="233.5" y="73" text-anchor="middle">B0</text>
<text x="8" y="107">rank 1</text>
<rect x="98" y="90" width="33" height="26" fill="hsl(210,60%,82%)"/><text x="114.5" y="107" text-anchor="middle">F0</text>
<rect x="132" y="90" width="67" height="26" fill="hsl(140,60%,82%)"/><text x="165.5" y="107" text-anchor="middle">B0</text>
<g stroke="black" stroke-opacity="0.35" stroke-width="0.8">
<line x1="200" y1="103" x2="200" y2="69"/>
<line x1="98" y1="69" x2="98" y2="103"/>
</g>
</svg>
)draw");
  // Each piece of work is a bar, each message a line.
  const std::string text = draw_svg(plan_of({4, 2, 8}));
  int bars = 0, lines = 0;
  for (size_t at = text.find("text-anchor"); at != std::string::npos; at = text.find("text-anchor", at + 1)) ++bars;
  for (size_t at = text.find("<line"); at != std::string::npos; at = text.find("<line", at + 1)) ++lines;
  EXPECT_EQ(bars, 2 * 4 * 2 * 8);
  EXPECT_EQ(lines, 2 * 7 * 8);
}

TEST(PipelineDrawing, Placement) {
  const LayerPlacement placement =
      place_layers({.num_layers = 5, .mtp_num_layers = 1, .pipeline_size = 2, .layout = "Et|ttt||tmL"});
  EXPECT_EQ(placement_text(placement, 2),
            "rank 0: embedding, layer 0 | nothing\nrank 1: layers 1-3 | layer 4, 1 prediction layer, loss\n");
}

}  // namespace
}  // namespace conclave
