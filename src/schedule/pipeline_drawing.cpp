#include "schedule/pipeline_drawing.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

struct Drawn {
  const PipelinePlan& plan;
  int64_t units = 0;  // of the whole
  int64_t width = 3;  // characters per unit of time: every label fits into its action

  explicit Drawn(const PipelinePlan& p) : plan(p) {
    for (const std::vector<ActionTime>& times : plan.times) {
      if (!times.empty()) units = std::max(units, times.back().end);
    }
    for (size_t rank = 0; rank < plan.orders.size(); ++rank) {
      for (size_t i = 0; i < plan.orders[rank].size(); ++i) {
        const int64_t length = plan.times[rank][i].end - plan.times[rank][i].start;
        const auto characters = static_cast<int64_t>(label(plan.orders[rank][i]).size()) + 1;
        width = std::max(width, (characters + length - 1) / length);
      }
    }
  }
  const PipelineShape& shape() const { return plan.args.shape; }
  bool chunks() const { return shape().virtual_size > 1; }

  std::string step_label(const ChunkStep& step) const {
    return chunks() ? fmt::format("{}.{}", step.micro_batch, step.chunk) : std::to_string(step.micro_batch);
  }
  std::string label(const PipelineAction& action) const {
    switch (action.kind) {
      case PipelineActionKind::kForward:
        return fmt::format("F{}", step_label(action.forward));
      case PipelineActionKind::kBackward:
        return fmt::format("B{}", step_label(action.backward));
      case PipelineActionKind::kMerged:
        return fmt::format("F{}B{}", step_label(action.forward), step_label(action.backward));
    }
    return "";
  }

  // Forwards whose backward is still to come, at most.
  int64_t most_held(size_t rank) const {
    int64_t now = 0, most = 0;
    for (const PipelineAction& action : plan.orders[rank]) {
      if (action.kind != PipelineActionKind::kBackward) most = std::max(most, ++now);
      if (action.kind != PipelineActionKind::kForward) --now;
    }
    return most;
  }
  double idle_share() const {
    int64_t busy = 0;
    for (const std::vector<ActionTime>& times : plan.times) {
      for (const ActionTime& time : times) busy += time.end - time.start;
    }
    const int64_t all = units * static_cast<int64_t>(plan.times.size());
    return all == 0 ? 0 : 1 - static_cast<double>(busy) / static_cast<double>(all);
  }

  std::string title() const {
    std::string text =
        fmt::format("{} {}, {} {} {}", shape().pipeline_size, shape().pipeline_size == 1 ? "rank" : "ranks",
                    shape().micro_batches, shape().micro_batches == 1 ? "micro-batch" : "micro-batches",
                    shape().work == PipelineWork::kTraining ? "forward and backward" : "forward");
    if (chunks()) {
      const int64_t group = shape().group_size > 0 ? shape().group_size : shape().pipeline_size;
      text += fmt::format(", {} chunks on each rank, groups of {}", shape().virtual_size, group);
    }
    return text;
  }
  std::string summary() const {
    return fmt::format("{} units of time (a forward takes {}, a backward {}); ranks wait {:.1f} % of it", units,
                       kForwardTime, kBackwardTime, 100 * idle_share());
  }
};

// The line of one rank: `width` characters per unit of time.
std::string rank_line(const Drawn& drawn, size_t rank, int64_t width) {
  std::string line;
  int64_t now = 0;
  const auto wait = [&](int64_t until) {
    for (; now < until; ++now) line += fmt::format("{:{}}", ".", width);
  };
  for (size_t i = 0; i < drawn.plan.orders[rank].size(); ++i) {
    const ActionTime& time = drawn.plan.times[rank][i];
    wait(time.start);
    std::string word = drawn.label(drawn.plan.orders[rank][i]);
    word.resize(static_cast<size_t>((time.end - time.start) * width - 1), '-');
    line += word + ' ';
    now = time.end;
  }
  wait(drawn.units);
  return line;
}

std::string ruler(int64_t units, int64_t width) {
  std::string line;
  for (int64_t unit = 0; unit < units; unit += 5) {
    line.resize(static_cast<size_t>(unit * width), ' ');
    line += std::to_string(unit);
  }
  line.resize(std::max(line.size(), static_cast<size_t>(units * width)), ' ');
  return line;
}

std::string without_trailing_spaces(std::string text) {
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

std::string stage_text(const StagePlacement& stage) {
  std::vector<std::string> parts;
  if (stage.embedding) parts.push_back("embedding");
  if (stage.layers == 1) parts.push_back(fmt::format("layer {}", stage.first_layer));
  if (stage.layers > 1)
    parts.push_back(fmt::format("layers {}-{}", stage.first_layer, stage.first_layer + stage.layers - 1));
  const size_t predictions = stage.mtp_layers.size();
  if (predictions > 0) parts.push_back(fmt::format("{} prediction layer{}", predictions, predictions == 1 ? "" : "s"));
  if (stage.loss) parts.push_back("loss");
  return parts.empty() ? "nothing" : join(parts, ", ");
}

}  // namespace

std::string placement_text(const LayerPlacement& placement, int64_t ranks) {
  std::string text;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    std::vector<std::string> chunks;
    for (int64_t chunk = 0; chunk < placement.virtual_size; ++chunk)
      chunks.push_back(stage_text(placement.at(rank, chunk)));
    text += fmt::format("rank {}: {}\n", rank, join(chunks, " | "));
  }
  return text;
}

std::string draw_text(const PipelinePlan& plan, int64_t columns) {
  const Drawn drawn(plan);
  const int64_t width = drawn.width;
  std::vector<std::string> names = {""}, lines = {ruler(drawn.units, width)};
  for (size_t rank = 0; rank < plan.orders.size(); ++rank) {
    names.push_back(fmt::format("rank {}", rank));
    lines.push_back(rank_line(drawn, rank, width));
  }
  const size_t name_width = names.back().size() + 2;
  const int64_t room = (columns - static_cast<int64_t>(name_width)) / width;
  const auto block = static_cast<size_t>(std::max<int64_t>(room, 4) * width);
  std::string text = drawn.title() + "\n" + drawn.summary() + "\n";
  for (size_t begin = 0; begin < lines[0].size(); begin += block) {
    text += '\n';
    for (size_t i = 0; i < lines.size(); ++i) {
      std::string name = names[i];
      name.resize(name_width, ' ');
      text += without_trailing_spaces(name + lines[i].substr(std::min(begin, lines[i].size()), block)) + "\n";
    }
  }
  text += "\nlists (a activation, g gradient, < receive, > send; brackets: posted together)\n";
  for (size_t rank = 0; rank < plan.steps.size(); ++rank)
    text += fmt::format("rank {}, at most {} forwards held: {}\n", rank, drawn.most_held(rank),
                        step_text(plan.steps[rank]));
  return text;
}

namespace {

constexpr int64_t kRow = 34, kBar = 26, kLeft = 64, kTop = 56, kCharacter = 7, kLeast = 544;

// Pixels per unit of time: the longest label fits.
int64_t unit_pixels(const Drawn& drawn) { return std::max<int64_t>(drawn.width * kCharacter + 4, 34); }
double x_of(const Drawn& drawn, int64_t time) { return static_cast<double>(kLeft + time * unit_pixels(drawn)); }
double y_of(int64_t rank) { return static_cast<double>(kTop + rank * kRow); }

// Later chunks are darker.
std::string colour(const PipelineAction& action, int64_t chunks) {
  const bool forward = action.kind == PipelineActionKind::kForward;
  const int64_t chunk = forward ? action.forward.chunk : action.backward.chunk;
  const int64_t light = 82 - 34 * chunk / std::max<int64_t>(chunks, 1);
  const int hue = action.kind == PipelineActionKind::kMerged ? 280 : forward ? 210 : 140;
  return fmt::format("hsl({},60%,{}%)", hue, light);
}

std::string bar(const Drawn& drawn, int64_t rank, const PipelineAction& action, const ActionTime& time) {
  const double x = x_of(drawn, time.start), y = y_of(rank);
  const auto width = static_cast<double>((time.end - time.start) * unit_pixels(drawn) - 1);
  return fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>"
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
      x, y, width, kBar, colour(action, drawn.shape().virtual_size), x + width / 2, y + 17, drawn.label(action));
}

// A line from the end of the work that makes a message to the start of the work that takes it.
class MessageLines {
 public:
  explicit MessageLines(const Drawn& drawn) : drawn_(drawn) {}

  std::string all() const {
    std::string text;
    for (size_t rank = 0; rank < drawn_.plan.steps.size(); ++rank) {
      for (const StepAction& action : drawn_.plan.steps[rank]) {
        if (is_message(action) && !is_send(action)) text += line(static_cast<int64_t>(rank), action);
      }
    }
    return text;
  }

 private:
  const Drawn& drawn_;

  ActionTime time_of(int64_t rank, bool forward, const ChunkStep& step) const {
    const auto index = static_cast<size_t>(rank);
    const std::vector<PipelineAction>& order = drawn_.plan.orders[index];
    const auto found = std::find_if(order.begin(), order.end(), [&](const PipelineAction& action) {
      return forward ? action.kind != PipelineActionKind::kBackward && action.forward == step
                     : action.kind != PipelineActionKind::kForward && action.backward == step;
    });
    CONCLAVE_CHECK(found != order.end(), "[schedule] a message without work");
    return drawn_.plan.times[index][static_cast<size_t>(found - order.begin())];
  }

  std::string line(int64_t rank, const StepAction& receive) const {
    const bool forward = receive.kind == ActionKind::kReceiveActivation;
    const int64_t ranks = drawn_.shape().pipeline_size;
    const int64_t from_stage = receive.chunk * ranks + rank + (forward ? -1 : 1);
    const ActionTime from = time_of(receive.peer, forward, {receive.micro_batch, from_stage / ranks});
    const ActionTime to = time_of(rank, forward, {receive.micro_batch, receive.chunk});
    return fmt::format("<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n", x_of(drawn_, from.end),
                       y_of(receive.peer) + kBar / 2.0, x_of(drawn_, to.start), y_of(rank) + kBar / 2.0);
  }
};

}  // namespace

std::string draw_svg(const PipelinePlan& plan) {
  const Drawn drawn(plan);
  const auto ranks = static_cast<int64_t>(plan.orders.size());
  const int64_t width = kLeft + std::max(drawn.units * unit_pixels(drawn), kLeast) + 16,
                height = kTop + ranks * kRow + 8;
  std::string text = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n"
      "<title>{2}</title>\n<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<text x=\"8\" y=\"18\" font-size=\"13\">{2}</text>\n<text x=\"8\" y=\"36\">{3}</text>\n",
      width, height, drawn.title(), drawn.summary());
  for (int64_t rank = 0; rank < ranks; ++rank) {
    text += fmt::format("<text x=\"8\" y=\"{}\">rank {}</text>\n", y_of(rank) + 17, rank);
    const auto index = static_cast<size_t>(rank);
    for (size_t i = 0; i < plan.orders[index].size(); ++i)
      text += bar(drawn, rank, plan.orders[index][i], plan.times[index][i]);
  }
  text += "<g stroke=\"black\" stroke-opacity=\"0.35\" stroke-width=\"0.8\">\n" + MessageLines(drawn).all() + "</g>\n";
  return text + "</svg>\n";
}

}  // namespace conclave
