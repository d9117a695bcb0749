#include "trainer/progress.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/log.h"

namespace conclave {
namespace {

TEST(Progress, BarText) {
  ProgressState state;
  state.done = 120;
  state.total = 1000;
  EXPECT_EQ(progress_bar_text(state, 80), "step  120/1000 [###---------------------]  12%");
  state.note = "lm loss 3.21";
  state.seconds_left = 182;
  EXPECT_EQ(progress_bar_text(state, 80),
            "step  120/1000 [###---------------------]  12% | lm loss 3.21 | 3m 02s left");
  EXPECT_EQ(progress_bar_text(state, 20).size(), 20u);
  EXPECT_EQ(progress_plain_text(state), "step 120/1000 (12.0 %) | lm loss 3.21 | 3m 02s left");
  state.done = 1000;
  EXPECT_EQ(progress_bar_text(state, 40), "step 1000/1000 [########################");
  state.total = 0;
  EXPECT_NE(progress_bar_text(state, 80).find("0%"), std::string::npos);
}

TEST(Progress, NeverSaysDoneBeforeItIs) {
  ProgressState state;
  state.done = 999;
  state.total = 1000;
  EXPECT_NE(progress_bar_text(state, 80).find(" 99%"), std::string::npos);
}

TEST(RemainingTime, FollowsTheRate) {
  RemainingTime time;
  EXPECT_FALSE(time.seconds_left(100));
  time.update(50, 3.0);  // resumed at 50: what came before tells nothing
  EXPECT_FALSE(time.seconds_left(100));
  time.update(51, 5.0);
  EXPECT_DOUBLE_EQ(*time.seconds_left(100), 98);
  time.update(51, 9.0);  // no news
  EXPECT_DOUBLE_EQ(*time.seconds_left(100), 98);
  for (int i = 52; i <= 400; ++i) time.update(i, 5.0 + 0.5 * (i - 51));
  EXPECT_NEAR(*time.seconds_left(500), 50, 0.1);
  EXPECT_EQ(*time.seconds_left(300), 0);
}

TEST(ProgressDisplay, LogLinesMakeTheBarGoAway) {
  testing::internal::CaptureStderr();
  {
    ProgressDisplay display(ProgressDisplay::Mode::kBar);
    ProgressState state;
    state.done = 1;
    state.total = 2;
    display.update(state);
    log_info("in between");
  }
  log_info("after");  // the display is gone: nothing of it is called
  const std::string text = testing::internal::GetCapturedStderr();
  const size_t bar = text.find("\rstep 1/2"), cleared = text.find("\r\x1b[K"), line = text.find("in between");
  ASSERT_NE(bar, std::string::npos) << text;
  EXPECT_LT(bar, cleared);
  EXPECT_LT(cleared, line);
  EXPECT_NE(line, std::string::npos);
}

TEST(ProgressDisplay, PlainAndOffDrawNoBar) {
  EXPECT_EQ(ProgressDisplay::mode_from_option("off"), ProgressDisplay::Mode::kOff);
  EXPECT_THROW(ProgressDisplay::mode_from_option("loud"), UserError);
  testing::internal::CaptureStderr();
  testing::internal::CaptureStdout();
  for (const auto mode : {ProgressDisplay::Mode::kPlain, ProgressDisplay::Mode::kOff}) {
    ProgressDisplay display(mode);
    ProgressState state;
    state.total = 2;
    display.update(state);
    display.print_line("a line");
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "a line\na line\n");
}

}  // namespace
}  // namespace conclave
