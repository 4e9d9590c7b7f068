"""Plain names: what a person would type for a subject beside its published label, the likeliest first.

A line is `label: names in English | names in Chinese`. Each says what the picture shows, so that it can stand for the
label in any caption; words that only belong to a subject (a fox's "animal", a rose's "love") are its tags.
"""

from __future__ import annotations

import re

TABLE = """
mouse face: mouse | 老鼠
cow face: cow | 奶牛, 牛
cow: | 牛
tiger face: tiger | 老虎
rabbit face: rabbit, bunny | 兔子
rabbit: bunny | 小兔子
cat face: cat, kitten, kitty | 猫, 小猫
cat: kitten, kitty | 小猫, 猫咪
horse face: horse | 马
horse: pony | 骏马
monkey face: monkey | 猴子
monkey: ape | 小猴子
dog face: dog, puppy | 狗, 小狗
dog: puppy | 小狗
poodle: dog, poodle dog | 小狗, 狮子狗
service dog: dog | 狗
guide dog: dog | 狗
pig face: pig, piglet | 猪, 小猪
pig: piglet | 小猪
dragon face: dragon | 龙
wolf: wolf face | 灰狼
bear: bear face | 小熊
panda: panda bear, panda face | 大熊猫
lion: lion face | 雄狮
fox: fox face | 小狐狸
unicorn: unicorn face | 独角马
frog: frog face | 蛙
koala: koala bear | 树袋熊
hamster: hamster face | 小仓鼠
elephant: baby elephant | 象
two-hump camel: camel, bactrian camel | 骆驼
camel: dromedary | 单峰骆驼
water buffalo: buffalo | 牛
ox: bull | 牛
ewe: sheep, lamb | 羊, 绵羊
ram: sheep | 羊, 绵羊
goat: billy goat | 羊
boar: wild boar | 山猪
rat: mouse | 大老鼠
chipmunk: squirrel | 花栗鼠
rhinoceros: rhino | 犀牛
hippopotamus: hippo | 大河马
bison: buffalo | 野牛
llama: alpaca | 大羊驼
moose: elk, deer | 鹿
gorilla: ape | 猩猩
orangutan: ape | 猩猩
rooster: cock | 大公鸡
chicken: hen | 母鸡
baby chick: chick | 鸡仔
hatching chick: chick in an egg, chick | 小鸡
front-facing baby chick: chick, baby chick | 小鸡
bird: little bird | 小鸟
black bird: crow, raven | 乌鸦
dove: pigeon | 鸽子
eagle: bald eagle | 老鹰
duck: mallard | 鸭
flamingo: | 红鹤
crocodile: alligator | 鳄
turtle: tortoise | 乌龟, 海龟
T-Rex: tyrannosaurus, dinosaur | 恐龙
sauropod dinosaur: dinosaur, brontosaurus | 恐龙
whale: | 鲸
spouting whale: whale | 鲸鱼
seal: sea lion | 小海豹
fish: little fish | 小鱼
tropical fish: fish | 鱼
blowfish: pufferfish | 河鲀
shrimp: prawn | 大虾
crab: | 螃蟹
squid: cuttlefish | 鱿鱼
oyster: oyster with a pearl | 生蚝
spiral shell: seashell, shell | 贝壳
orca: killer whale | 杀人鲸
octopus: little octopus | 八爪鱼
honeybee: bee | 小蜜蜂
lady beetle: ladybug, ladybird | 七星瓢虫
bug: caterpillar | 虫子
cricket: grasshopper | 蛐蛐
microbe: germ, virus | 病毒
worm: earthworm | 虫子
spider web: cobweb | 蛛网
paw prints: paws, paw print | 脚印
bouquet: bunch of flowers, flowers | 鲜花, 一束花
cherry blossom: flower, sakura | 花, 樱花花朵
rose: rose flower | 玫瑰花
blossom: flower | 花, 小花
white flower: flower | 花
hibiscus: flower, hibiscus flower | 花, 扶桑花
tulip: tulip flower | 郁金香花
lotus: lotus flower | 荷花
sunflower: sunflower blossom | 向日葵花
wilted flower: dying flower, wilted rose | 凋谢的花
rosette: flower ornament | 花饰
seedling: sprout, young plant | 嫩芽
potted plant: plant, houseplant | 盆栽, 绿植
evergreen tree: tree, pine tree, fir | 树, 松树
deciduous tree: tree, leafy tree | 树, 大树
palm tree: palm, coconut tree | 椰子树, 棕榈
leafless tree: bare tree, dead tree | 枯树
four leaf clover: clover, lucky clover | 幸运草
shamrock: clover | 三叶草叶子
maple leaf: autumn leaf | 枫树叶
fallen leaf: autumn leaf | 叶子, 秋叶
leaf fluttering in wind: leaf | 叶子, 树叶
herb: | 香草
sheaf of rice: rice plant, ear of rice | 水稻
ear of corn: corn, maize | 玉蜀黍
mushroom: toadstool | 毒蘑菇
brown mushroom: mushroom | 蘑菇
grapes: bunch of grapes | 一串葡萄
melon: cantaloupe | 哈密瓜
watermelon: slice of watermelon | 一片西瓜, 一块西瓜
tangerine: orange, mandarin | 橙子, 桔子
red apple: apple | 苹果
green apple: apple | 苹果
peach: peach fruit | 桃子
pear: pear fruit | 梨子
cherries: cherry | 车厘子
strawberry: strawberry fruit | 大草莓
kiwi fruit: kiwi | 奇异果
coconut: coconut half | 椰果
banana: bananas | 香蕉
pineapple: pineapple fruit | 凤梨
tomato: | 番茄
eggplant: aubergine | 茄子
hot pepper: chili pepper, chili | 辣椒
bell pepper: pepper | 甜椒
leafy green: lettuce, cabbage | 青菜, 白菜
potato: potatoes | 马铃薯
peanuts: peanut | 花生米
onion: onion bulb | 葱头
garlic: garlic bulb | 大蒜
broccoli: broccoli floret | 花椰菜
beans: bean | 豆子
pea pod: peas | 豌豆
chestnut: nut | 板栗
bread: loaf of bread, loaf | 一条面包, 吐司
baguette bread: baguette, french bread | 法棍, 面包
croissant: croissant pastry | 可颂
pancakes: pancake, stack of pancakes | 松饼, 煎饼
cheese wedge: cheese, piece of cheese | 奶酪, 一块奶酪
meat on bone: meat, piece of meat | 肉, 带骨肉
poultry leg: chicken leg, drumstick | 鸡腿肉
cut of meat: steak, raw meat | 牛排, 肉
hamburger: burger, cheeseburger | 汉堡包
french fries: fries, chips | 炸薯条
pizza: slice of pizza, pizza slice | 比萨, 一片披萨, 一块披萨
hot dog: hotdog, sausage in a bun | 热狗肠
sandwich: toast sandwich | 三文治
taco: mexican taco | 塔可
burrito: wrap | 卷饼
stuffed flatbread: kebab, pita | 肉夹馍
fried egg in a pan: fried egg, frying pan with an egg | 煎蛋, 平底锅里的煎蛋
pot of food: pot, stew, soup | 锅, 炖锅, 一锅汤
shallow pan of food: paella, pan of food | 海鲜饭
bowl with spoon: bowl, bowl of soup | 碗, 一碗汤
green salad: salad, bowl of salad | 沙拉, 蔬菜沙拉
popcorn: box of popcorn | 一桶爆米花
canned food: can, tin can | 罐头
egg: | 蛋
bento box: bento, lunch box | 便当
rice ball: onigiri | 日式饭团
cooked rice: bowl of rice, rice | 一碗米饭
curry rice: curry, curry with rice | 咖喱
steaming bowl: bowl of noodles, noodles, ramen, noodle soup | 面条, 拉面, 汤面, 面
spaghetti: plate of spaghetti, pasta | 意大利面, 意面
roasted sweet potato: sweet potato | 红薯, 地瓜
sushi: nigiri sushi | 寿司卷
fried shrimp: tempura, fried prawn | 炸虾
dumpling: dumplings | 水饺
takeout box: chinese takeout, takeaway box | 外卖
moon cake: mooncake | 中秋月饼
soft ice cream: ice cream cone, ice cream | 冰淇淋, 甜筒
ice cream: bowl of ice cream | 雪糕
shaved ice: snow cone | 冰沙
doughnut: donut | 面包圈
cookie: chocolate chip cookie, biscuit | 曲奇
birthday cake: cake, cake with candles | 蛋糕, 生日蜡烛蛋糕
shortcake: slice of cake, piece of cake, cake | 蛋糕, 一块蛋糕
cupcake: muffin | 小蛋糕, 杯子蛋糕
pie: apple pie | 馅饼
chocolate bar: chocolate, bar of chocolate | 巧克力棒
candy: sweet, wrapped candy | 糖果
lollipop: lolly | 棒糖
custard: pudding, flan | 布丁
honey pot: jar of honey, honey | 蜂蜜
baby bottle: milk bottle | 婴儿奶瓶
glass of milk: milk | 牛奶, 一杯牛奶
hot beverage: cup of coffee, cup of tea, coffee, coffee cup, hot drink | 咖啡, 一杯咖啡, 一杯茶, 茶, 热咖啡
teacup without handle: cup of tea, green tea, tea, teacup | 茶, 一杯茶, 茶杯, 绿茶
teapot: tea pot | 茶壶
sake: sake bottle and cup | 日本清酒
bottle with popping cork: champagne, champagne bottle, bottle of champagne | 香槟, 一瓶香槟
wine glass: glass of wine, red wine, wine | 红酒, 一杯红酒, 酒杯
cocktail glass: cocktail, martini | 马提尼酒
tropical drink: cocktail, tropical cocktail | 饮料, 果汁
beer mug: beer, glass of beer | 一杯啤酒
clinking beer mugs: two beers, beers, two beer mugs | 干杯的啤酒
clinking glasses: champagne glasses, two champagne glasses | 香槟杯
tumbler glass: whiskey, glass of whiskey | 威士忌
cup with straw: soft drink, soda, cup of soda | 可乐, 饮料
bubble tea: boba tea, milk tea | 奶茶
beverage box: juice box, carton of juice | 盒装果汁
ice: ice cube | 冰
chopsticks: pair of chopsticks | 一双筷子
fork and knife with plate: plate with knife and fork, plate | 盘子和刀叉
fork and knife: knife and fork, cutlery | 刀和叉
kitchen knife: knife | 刀
spoon: teaspoon | 勺子
jar: glass jar | 罐子
globe showing Europe-Africa: earth, globe | 地球
globe showing Americas: earth, globe | 地球
globe showing Asia-Australia: earth, globe | 地球
globe with meridians: globe | 地球仪
mountain: mountains | 大山
snow-capped mountain: mountain, snowy mountain | 山
volcano: erupting volcano | 火山爆发
Mount Fuji: mountain | 山
camping site: tent, campsite | 帐篷, 露营
beach with umbrella: beach | 沙滩
desert island: island, island with a palm tree | 岛, 小岛
house with garden: house, home with a tree | 房子, 带花园的房子
house: home, cottage | 房屋, 家
houses: row of houses | 房子
derelict house: old house, abandoned house | 破房子
office building: building, skyscraper | 楼, 大楼, 高楼
classical building: temple, museum | 博物馆
castle: european castle | 城堡
Japanese castle: castle | 城堡
hut: cabin | 茅屋
hospital: hospital building | 医院大楼
school: school building | 学校大楼
department store: shop, mall | 商店
convenience store: shop, store | 商店
factory: factory building | 厂房
church: chapel | 小教堂
cityscape: city, city skyline | 城市
cityscape at dusk: city at dusk, city at sunset | 黄昏的城市
night with stars: night sky, city at night | 夜空
sunrise: sunrise over the sea | 海上日出
sunset: sunset over a city | 城市日落
bridge at night: bridge | 桥
circus tent: circus | 马戏团
ferris wheel: big wheel | 大转盘
automobile: car, sedan | 小汽车, 轿车, 车
oncoming automobile: car, front of a car | 汽车, 小汽车
sport utility vehicle: suv, car | 越野车, 汽车
racing car: race car, formula one car, sports car | 跑车, 方程式赛车
police car: cop car | 警察车
oncoming police car: police car | 警车
taxi: cab | 的士
oncoming taxi: taxi, cab | 出租车
pickup truck: pickup, truck | 皮卡
delivery truck: truck, van | 卡车
articulated lorry: truck, lorry, semi truck | 卡车, 大货车
bus: city bus | 巴士, 公共汽车
oncoming bus: bus | 公交车, 巴士
trolleybus: bus | 公交车
minibus: van | 面包车
fire engine: fire truck | 救火车
tractor: farm tractor | 拖拉机车
bicycle: bike | 单车, 脚踏车
motorcycle: motorbike | 摩托
motor scooter: scooter, moped | 电动车, 踏板车
kick scooter: scooter | 踏板车
auto rickshaw: tuk tuk | 三轮车
locomotive: steam train, steam locomotive, train | 火车, 火车头, 蒸汽机车
train: front of a train | 列车
railway car: train, train car | 火车
high-speed train: train, fast train | 高铁, 火车
bullet train: train | 火车, 高铁
metro train: subway, subway train, train | 地铁列车
light rail train: train, tram | 轻轨列车
tram: streetcar | 电车
tram car: tram | 电车
train station: station | 火车站
railway track: railroad track, rails | 铁路
motorway: highway, road | 公路
vertical traffic light: traffic light, stoplight | 红绿灯
horizontal traffic light: traffic light | 红绿灯
fuel pump: gas pump, gas station | 加油站
wheel: tire, car wheel | 轮子, 轮胎
airplane: plane, jet | 客机
small airplane: plane, airplane | 飞机
airplane departure: plane taking off, airplane taking off | 飞机起飞
airplane arrival: plane landing, airplane landing | 飞机降落
helicopter: chopper | 直升飞机
rocket: space rocket, spaceship | 飞船, 宇宙飞船
flying saucer: ufo | 外星飞船
satellite: space satellite | 人造卫星
sailboat: sailing boat, boat, yacht | 船, 小帆船
canoe: boat, rowing boat | 小船
speedboat: motorboat, boat | 船
motor boat: boat, motorboat | 船
ship: large ship, steamer | 轮船, 大船
passenger ship: cruise ship, ship | 邮轮, 大船
ferry: ferry boat, ship | 船
ring buoy: lifebuoy, life ring | 救生圈
luggage: suitcase | 手提箱
hourglass: sand clock | 沙钟
hourglass with flowing sand: hourglass | 沙漏
watch: wristwatch | 腕表
alarm clock: clock | 钟, 时钟
mantelpiece clock: clock, old clock | 钟, 时钟
clock showing twelve o'clock: clock, clock face | 钟, 时钟
clock showing three o'clock: clock, wall clock | 钟, 时钟
clock showing ten o'clock: clock, wall clock | 钟, 挂钟
timer clock: timer, kitchen timer | 计时器
full moon: moon | 月亮, 满月
crescent moon: moon | 月亮, 月牙
full moon face: moon with a face, moon | 月亮
new moon face: dark moon with a face | 朔月
first quarter moon face: moon with a face, moon | 月亮
last quarter moon face: moon with a face, moon | 月亮
sun with face: smiling sun, sun | 太阳
sun: bright sun | 大太阳
star: | 五角星
glowing star: shiny star, star | 星星
shooting star: falling star, star | 流星
ringed planet: planet, saturn | 行星, 土星
milky way: galaxy, starry sky | 星空
cloud: | 云朵
cloud with rain: rain cloud, rain | 雨云, 雨
cloud with snow: snow cloud | 雪云
cloud with lightning: thunder cloud | 雷云
cloud with lightning and rain: thunderstorm | 雷雨
sun behind a cloud: sun and cloud, partly cloudy sky | 太阳和云
sun behind a small cloud: sun with a small cloud | 太阳和云
sun behind a rain cloud: sun and rain | 太阳雨
tornado: whirlwind | 旋风
rainbow: bright rainbow | 七色彩虹
umbrella: open umbrella | 雨伞
umbrella with rain drops: umbrella in the rain, umbrella | 伞, 雨中的伞
closed umbrella: folded umbrella | 合上的伞
umbrella on ground: beach umbrella, parasol | 遮阳伞
lightning bolt: lightning, thunderbolt | 雷电
snowflake: snow | 雪, 雪的结晶
snowman without snow: snowman | 小雪人
snowman: snowman in the snow | 雪人
fire: flame, flames | 火, 火苗
droplet: water drop, drop of water | 水珠, 一滴水
water wave: wave, big wave, ocean wave | 海浪
jack-o-lantern: halloween pumpkin, carved pumpkin | 万圣节南瓜
Christmas tree: decorated tree | 圣诞节的树
fireworks: firework | 烟花
sparkles: sparkling stars, stars | 星光
party popper: confetti popper | 礼花
wrapped gift: gift, present, gift box | 礼品, 礼物盒
ribbon: bow | 丝带
trophy: gold cup, winner's cup | 奖杯
gold medal: medal, first place medal | 奖牌
soccer ball: football, soccer, ball | 足球, 球
american football: football | 橄榄球
rugby football: rugby ball | 橄榄球
baseball: baseball ball | 棒球
basketball: basketball ball | 篮球球
volleyball: volleyball ball | 排球球
tennis: tennis ball, tennis racket and ball | 网球拍
bowling: bowling ball and pins, bowling pins | 保龄球瓶
ping pong: table tennis paddle, ping pong paddle | 乒乓球拍
badminton: shuttlecock, badminton racket | 羽毛球拍
fishing pole: fishing rod | 鱼竿
skis: pair of skis | 滑雪
ice skate: skate | 溜冰鞋
sled: sledge | 雪橇车
boxing glove: | 拳套
bullseye: target, dart board | 飞镖盘, 靶子
pool eight ball: billiard ball, eight ball | 八号球
video game: game controller, gamepad | 手柄
joystick: arcade joystick | 摇杆
game die: dice, die | 骰子
puzzle piece: jigsaw piece | 拼图块
teddy bear: stuffed bear, toy bear | 玩具熊
crystal ball: fortune teller's ball | 魔法球
magic wand: wand | 魔杖
artist palette: palette, paint palette | 颜料盘
framed picture: picture, painting, picture frame | 画, 画框
yarn: ball of yarn | 毛线球
thread: spool of thread | 线轴
glasses: eyeglasses, pair of glasses | 一副眼镜
sunglasses: pair of sunglasses, dark glasses | 太阳镜
necktie: tie | 领带
t-shirt: shirt, tee | 衬衫, 短袖
jeans: pants, trousers | 裤子, 牛仔裤
dress: | 裙子
coat: jacket | 大衣
socks: pair of socks | 袜子
gloves: pair of gloves | 手套
woman's clothes: blouse | 女衬衫
handbag: bag, purse | 包, 女包
purse: wallet, bag | 包
backpack: school bag, rucksack | 背包
man's shoe: shoe, leather shoe | 皮鞋, 鞋
running shoe: sneaker, shoe, trainer | 运动鞋, 鞋
hiking boot: boot | 靴子
woman's boot: boot | 靴子
high-heeled shoe: high heel |
woman's sandal: sandal | 凉鞋
flat shoe: ballet flat, shoe | 鞋
thong sandal: flip flop | 人字拖
crown: golden crown, king's crown | 王冠
woman's hat: sun hat, hat | 帽子
top hat: magician's hat | 帽子
graduation cap: mortarboard, academic cap | 学士帽
billed cap: cap, baseball cap | 棒球帽, 帽子
ring: diamond ring | 钻戒
gem stone: diamond, gem | 钻石
lipstick: | 口红
speaker at high volume: speaker, loudspeaker | 喇叭, 扬声器
megaphone: bullhorn | 喇叭
loudspeaker: speaker | 扩音器
bell: golden bell | 铃, 钟
musical note: music note, note | 音乐符号
musical notes: music notes, music | 音符
studio microphone: microphone | 麦克风
microphone: mic | 话筒
headphone: headphones | 耳机
radio: old radio | 老收音机
guitar: acoustic guitar, electric guitar | 电吉他, 木吉他
musical keyboard: piano, keyboard | 钢琴, 键盘
trumpet: brass trumpet | 喇叭
violin: fiddle | 提琴
drum: snare drum | 小鼓
saxophone: sax | 萨克斯
mobile phone: phone, smartphone, cell phone | 智能手机
telephone: phone, landline | 电话机, 座机
telephone receiver: phone receiver, handset | 听筒
laptop: laptop computer, notebook computer, computer | 笔记本, 电脑
desktop computer: computer, monitor, pc | 电脑, 显示器
keyboard: computer keyboard | 电脑键盘
computer mouse: mouse | 鼠标
optical disk: cd, compact disc | CD
floppy disk: disk | 磁盘
battery: full battery | 电池
television: tv, old television | 电视
camera: photo camera, digital camera | 照相机
camera with flash: camera, camera flash | 照相机, 相机
video camera: camcorder | 录像机
movie camera: film camera | 摄影机
clapper board: clapperboard | 打板
magnifying glass tilted left: magnifying glass, magnifier | 放大镜
magnifying glass tilted right: magnifying glass, magnifier | 放大镜
light bulb: bulb, lamp, lightbulb | 电灯泡, 灯
flashlight: torch | 手电
candle: burning candle | 点燃的蜡烛
red paper lantern: lantern | 灯笼
diya lamp: oil lamp | 油灯
couch and lamp: sofa, couch, sofa and lamp | 沙发, 台灯和沙发
closed book: book | 书, 书本
open book: book | 书, 打开的书
green book: book | 书
blue book: book | 书
orange book: book | 书
books: stack of books, pile of books | 一摞书, 书籍
notebook: note book | 本子
newspaper: paper | 报
scroll: old scroll | 古卷
page facing up: sheet of paper, document, paper | 一张纸, 文档
memo: note, paper and pencil | 便条, 纸和笔
bookmark: ribbon bookmark | 书签
label: tag, price tag | 价签
money bag: bag of money, sack of money | 一袋钱
dollar banknote: money, dollar bill, dollars | 钱, 钞票
coin: gold coin | 金币
credit card: bank card | 银行卡
treasure chest: chest of gold | 宝藏箱
envelope: letter, mail | 信, 信件
love letter: letter with a heart | 爱心信封
e-mail envelope: e-mail, email | 电子邮件
package: parcel, cardboard box, box | 箱子, 纸箱
closed mailbox with raised flag: mailbox | 邮箱
closed mailbox with lowered flag: mailbox | 邮箱
postbox: mailbox, pillar box | 信箱
pencil: | 铅笔
pen: ballpoint pen | 圆珠笔
fountain pen: pen, ink pen | 笔
paintbrush: brush, artist's brush | 刷子
crayon: wax crayon | 彩笔
briefcase: business bag | 手提包
calendar: calendar page | 台历
tear-off calendar: calendar | 日历
scissors: pair of scissors | 一把剪刀
paperclip: clip | 曲别针
pushpin: pin, thumbtack | 大头针
straight ruler: ruler | 尺子
triangular ruler: set square, triangle ruler | 三角板
wastebasket: trash can, bin | 垃圾箱
locked padlock: lock, padlock | 挂锁
unlocked padlock: open lock, open padlock | 开着的锁
key: golden key | 金钥匙
old key: key, antique key | 钥匙
hammer: claw hammer | 锤
axe: hatchet | 斧子
hammer and wrench: tools | 工具
wrench: spanner | 扳子
dagger: knife | 短剑
crossed swords: swords, two swords | 剑, 两把剑
bow and arrow: archery bow | 弓箭
shield: knight's shield | 盾
bomb: round bomb | 炸药
gear: cog, cogwheel | 齿轮
balance scale: scales | 秤
magnet: horseshoe magnet | 吸铁石
ladder: wooden ladder | 楼梯
toolbox: | 工具盒
syringe: injection | 针筒
pill: capsule, medicine | 药, 胶囊
adhesive bandage: plaster, band-aid | 邦迪
test tube: lab tube | 试管
microscope: lab microscope | 显微镜
telescope: spyglass | 天文望远镜
satellite antenna: satellite dish | 雷达
door: wooden door | 木门
bed: person's bed | 床铺
chair: wooden chair | 木椅子
toilet: toilet bowl | 抽水马桶
bathtub: bath, tub | 浴盆
shower: shower head | 花洒
window: window frame | 窗
mirror: hand mirror | 镜
bucket: pail | 水桶
soap: bar of soap | 肥皂
shopping cart: trolley | 手推车
shopping bags: shopping bag | 购物袋子
fire extinguisher: | 灭火瓶
cigarette: lit cigarette | 烟
coffin: casket | 棺木
headstone: gravestone, tombstone | 墓
moai: easter island statue, stone head | 石像
pile of poo: poop, poo | 便便
skull: death's head | 骷髅
ghost: | 幽灵
alien: alien head | 外星人头
alien monster: space invader | 像素怪物
robot: robot face, robot head | 机器人头
clown face: clown | 小丑
ogre: | 鬼怪
goblin: tengu | 天狗
red heart: heart, love heart | 爱心, 心
broken heart: heartbreak | 碎了的心
sparkling heart: heart | 爱心
growing heart: heart |
two hearts: hearts | 两颗爱心
heart with arrow: cupid's heart | 丘比特之箭
heart with ribbon: gift heart | 礼物心
collision: explosion, boom | 爆炸效果
speech balloon: speech bubble | 对话框
thought balloon: thought bubble | 思考泡泡
hundred points sign: hundred points, 100 | 一百分
eyes: pair of eyes | 眼睛
mouth: lips | 嘴唇
tongue: | 舌
ear: human ear | 耳
nose: human nose | 鼻
foot: bare foot | 脚丫
leg: bent leg | 腿脚
bone: dog bone | 骨
tooth: | 牙
brain: human brain | 大脑
anatomical heart: human heart | 心脏
flexed biceps: strong arm, muscle, biceps | 肌肉
thumbs up: thumb up, like | 点赞
thumbs down: thumb down, dislike | 差评
OK hand: OK sign | OK
waving hand: hand waving, hello hand | 挥手
victory hand: peace sign, two fingers | 剪刀手
raised fist: fist | 拳头
oncoming fist: fist, punch | 拳头
raised hand: hand, palm | 手, 手掌
clapping hands: applause | 鼓掌
folded hands: praying hands | 合十
handshake: shaking hands | 两只握着的手
crossed fingers: fingers crossed | 交叉手指
grinning face: smiley, happy face, smiling face | 笑脸
grinning face with big eyes: smiley, happy face | 笑脸
grinning face with smiling eyes: smiley, happy face | 笑脸
beaming face with smiling eyes: smiley, grinning face | 笑脸
smiling face with smiling eyes: smiling face, happy face | 微笑的脸
slightly smiling face: smiling face, smiley | 微笑的脸
face with tears of joy: laughing face, crying laughing face | 笑哭的脸
winking face: wink, face winking | 眨眼的脸
smiling face with heart-eyes: face with heart eyes, love face | 爱心眼
smiling face with sunglasses: face with sunglasses, cool face | 戴墨镜的脸
face blowing a kiss: kissing face | 飞吻的脸
crying face: sad face, face with a tear | 哭脸, 伤心的脸
loudly crying face: crying face | 大哭的脸
angry face: mad face | 生气的脸
enraged face: angry face | 愤怒的脸
sleeping face: face asleep | 睡觉的脸
thinking face: face thinking | 思考的脸
nerd face: face with glasses | 戴眼镜的脸
star-struck face: face with star eyes | 星星眼
partying face: party face | 派对脸
cowboy hat face: cowboy, face with a cowboy hat | 牛仔
face with medical mask: face with a mask | 戴口罩的脸
face screaming in fear: scared face, screaming face | 惊恐的脸
face with open mouth: surprised face | 惊讶的脸
worried face: sad face | 担心的脸
frowning face: sad face | 难过的脸
neutral face: straight face | 面无表情的脸
woman: lady | 女士
man: guy | 男士
boy: little boy, kid | 小男孩
girl: little girl, kid | 小女孩
baby: infant, baby face | 婴儿, 宝宝
old man: elderly man, grandfather | 老人, 爷爷
old woman: elderly woman, grandmother | 老人, 奶奶
older person: old person, elderly person | 老人
man with a beard: bearded man | 有胡子的男人, 大胡子男人
woman with red hair: redhead | 红头发的女人
man with red hair: redhead | 红头发的男人
woman with blond hair: blonde woman, blonde | 金发女郎
man with blond hair: blond man | 金发男子
woman with curly hair: curly-haired woman | 卷发女郎
person: human | 人物
child: kid | 孩子, 小孩
police officer: policeman, cop | 警官
man police officer: policeman | 男警官
woman police officer: policewoman | 女警官
cook: chef | 大厨
man cook: chef | 厨师
woman cook: chef | 厨师
health worker: doctor | 医生
man health worker: doctor | 医生
woman health worker: doctor, nurse | 医生, 护士
firefighter: fireman | 救火员
man firefighter: fireman | 消防员
astronaut: spaceman | 太空人
woman astronaut: astronaut | 宇航员
man astronaut: astronaut | 宇航员
farmer: peasant | 农夫
student: graduate | 毕业生
teacher: school teacher | 教师
artist: painter | 画家
man artist: painter | 画家
woman artist: painter | 画家
singer: rock star | 歌星
woman singer: singer | 歌手
scientist: chemist | 化学家
detective: spy | 密探
construction worker: builder | 工人
guard: royal guard | 守卫
princess: girl with a crown | 小公主
prince: boy with a crown | 小王子
ninja: ninja warrior | 武士
Santa Claus: santa, father christmas | 圣诞爷爷
Mrs. Claus: mother christmas | 圣诞老奶奶
mage: wizard | 巫师, 魔法师
man mage: wizard | 男巫师
woman mage: witch, sorceress | 女巫
vampire: dracula | 吸血蝙蝠人
mermaid: little mermaid | 人鱼
zombie: undead | 丧尸
fairy: pixie | 小仙子
superhero: hero | 超人
baby angel: angel, little angel | 天使
person running: runner | 跑步者
man running: runner | 男跑步者
woman running: runner | 女跑步者
woman dancing: dancer | 舞者, 跳舞的女孩
man dancing: dancer | 舞者
person biking: cyclist | 骑车的人
person swimming: swimmer | 游泳者
person surfing: surfer | 冲浪者
people holding hands: couple | 情侣
family: parents and a child | 家庭
footprints: feet | 足迹
warning sign: triangle sign | 警告
stop sign: | 停止牌
no entry sign: do not enter sign | 禁止进入
radioactive sign: nuclear sign | 核辐射
recycling symbol: recycle sign | 回收
check mark: tick | 对勾
check mark button: tick | 对勾
cross mark: x mark | 叉
red question mark: question mark | 问号
red exclamation mark: exclamation mark | 感叹号
right arrow: arrow | 箭头
left arrow: arrow | 箭头
up arrow: arrow | 箭头
down arrow: arrow | 箭头
play button: play icon | 播放键
pause button: pause icon | 暂停键
yin yang symbol: taiji, yin and yang | 太极
peace symbol: peace sign | 和平标志
infinity sign: infinity | 无穷
heart suit: heart | 红心
spade suit: spade | 黑桃牌
red circle: circle | 圆, 圆形
blue circle: circle | 圆, 圆形
green circle: circle | 圆, 圆形
yellow circle: circle | 圆, 圆形
orange circle: circle | 圆, 圆形
purple circle: circle | 圆, 圆形
red square: square | 方块, 正方形
blue square: square | 方块, 正方形
green square: square | 方块, 正方形
yellow square: square | 方块, 正方形
orange square: square | 方块, 正方形
purple square: square | 方块, 正方形
red triangle pointed up: triangle | 三角形
red triangle pointed down: triangle | 三角形
large blue diamond: diamond shape | 菱形
large orange diamond: diamond shape | 菱形
chequered flag: racing flag | 赛车旗
pirate flag: skull flag | 海盗旗
rainbow flag: pride flag | 彩虹旗
"""


def read(table: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """label -> {"en": names, "zh": names}."""
    lines = (re.fullmatch(r"(.+?): ?(.*?) ?\| ?(.*)", line) for line in table.strip().splitlines())
    names = {line[1]: {"en": line[2], "zh": line[3]} for line in lines if line}
    return {
        label: {lang: tuple(filter(None, said.split(", "))) for lang, said in both.items()}
        for label, both in names.items()
    }


NAMES = read(TABLE)
