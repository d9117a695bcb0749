#include "base/signal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"

namespace conclave {
namespace {

TEST(StopSignals, TheFirstOnlySetsAFlag) {
  StopSignals signals;
  EXPECT_EQ(stop_signal(), 0);
  raise(SIGTERM);
  EXPECT_EQ(stop_signal(), SIGTERM);
  raise(SIGTERM);
  EXPECT_EQ(stop_signal(), SIGTERM);
}

TEST(StopSignals, ANewOneStartsClean) {
  {
    StopSignals signals;
    raise(SIGINT);
    EXPECT_EQ(stop_signal(), SIGINT);
  }
  StopSignals signals;
  EXPECT_EQ(stop_signal(), 0);
}

TEST(StopSignals, TheOldHandlersComeBack) {
  struct sigaction mine {};
  mine.sa_handler = SIG_IGN;
  struct sigaction before {};
  sigaction(SIGTERM, &mine, &before);
  { StopSignals signals; }
  struct sigaction now {};
  sigaction(SIGTERM, &before, &now);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

TEST(StopSignals, TheLastOneBringsTheOldHandlersBack) {
  struct sigaction mine {};
  mine.sa_handler = SIG_IGN;
  struct sigaction before {
  }, now{};
  sigaction(SIGTERM, &mine, &before);
  {
    const StopSignals first;
    { const StopSignals second; }
    raise(SIGTERM);
    EXPECT_EQ(stop_signal(), SIGTERM);
  }
  sigaction(SIGTERM, &before, &now);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

TEST(StopSignalsDeathTest, ASecondInterruptEndsAtOnce) {
  EXPECT_EXIT(
      {
        StopSignals signals;
        raise(SIGINT);
        raise(SIGINT);
        _exit(0);
      },
      testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace conclave
