#include "cli/cli.h"

#include <cstdio>

namespace conclave {

int run_command_line(int, char**) {
  std::fputs("conclave: no command is built yet\n", stderr);
  return 2;
}

}  // namespace conclave
